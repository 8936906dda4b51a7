//! Shares the server among its users: a number of requests run at once, and those that wait are taken from each user in
//! turn, so that whoever sends many waits for itself and not in front of others.
//!
//! Source: the idea of upstream's API priority and fairness, with the user as the flow and one level of priority.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::oneshot;

/// Seats for requests, and the users who wait for one.
pub(crate) struct FairQueue {
    /// How many requests of one user may wait.
    waiting_max: usize,
    patience: Duration,
    seats: Arc<Mutex<Seats>>,
}

struct Seats {
    free: usize,
    /// The requests that wait, by user; a user who has none is not here.
    waiting: HashMap<Box<str>, VecDeque<oneshot::Sender<Seat>>>,
    /// The users who wait, in the order of their turns.
    turns: VecDeque<Box<str>>,
}

/// A place among the requests that run; when this is dropped it is the next one's.
pub(crate) struct Seat(Option<Arc<Mutex<Seats>>>);

/// The user has too many requests waiting already, or this one has waited too long.
#[derive(Debug)]
pub(crate) struct Crowded;

impl FairQueue {
    pub(crate) fn new(seats: usize, waiting_max: usize, patience: Duration) -> Self {
        let seats = Seats { free: seats, waiting: HashMap::new(), turns: VecDeque::new() };
        Self { waiting_max, patience, seats: Arc::new(Mutex::new(seats)) }
    }

    /// A seat, at once or when it is the user's turn.
    ///
    /// # Errors
    /// When too many of the user's requests wait, or the turn does not come in time.
    pub(crate) async fn seat(&self, user: &str) -> Result<Seat, Crowded> {
        let turn = {
            let mut seats = lock(&self.seats);
            if seats.free > 0 {
                seats.free -= 1;
                return Ok(Seat(Some(self.seats.clone())));
            }
            seats.enqueue(user, self.waiting_max)?
        };
        // A seat that comes just when nobody waits for it any more is dropped with the channel, and so passed on.
        match tokio::time::timeout(self.patience, turn).await {
            Ok(Ok(seat)) => Ok(seat),
            _ => Err(Crowded),
        }
    }
}

impl Seats {
    fn enqueue(&mut self, user: &str, waiting_max: usize) -> Result<oneshot::Receiver<Seat>, Crowded> {
        let (give, turn) = oneshot::channel();
        let Some(queue) = self.waiting.get_mut(user) else {
            self.waiting.insert(user.into(), VecDeque::from([give]));
            self.turns.push_back(user.into());
            return Ok(turn);
        };
        if queue.len() >= waiting_max {
            queue.retain(|waiting| !waiting.is_closed());
        }
        if queue.len() >= waiting_max {
            return Err(Crowded);
        }
        queue.push_back(give);
        Ok(turn)
    }

    /// Offers a seat to the users in turn, each user's requests in their order; gives it back when nobody waits.
    fn offer(&mut self, mut seat: Seat) -> Option<Seat> {
        while let Some(user) = self.turns.pop_front() {
            let Some(mut queue) = self.waiting.remove(&user) else { continue };
            let unwanted = offer_first(&mut queue, seat);
            if !queue.is_empty() {
                self.waiting.insert(user.clone(), queue);
                self.turns.push_back(user);
            }
            seat = unwanted?;
        }
        Some(seat)
    }
}

/// Offers a seat to requests in their order, until one that still waits takes it.
fn offer_first(queue: &mut VecDeque<oneshot::Sender<Seat>>, mut seat: Seat) -> Option<Seat> {
    while let Some(waiting) = queue.pop_front() {
        seat = waiting.send(seat).err()?;
    }
    Some(seat)
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(shared) = self.0.take() else { return };
        let mut seats = lock(&shared);
        if let Some(mut unwanted) = seats.offer(Seat(Some(shared.clone()))) {
            unwanted.0 = None;
            seats.free += 1;
        }
    }
}

fn lock(seats: &Mutex<Seats>) -> MutexGuard<'_, Seats> {
    seats.lock().expect("nothing panics while it holds the seats")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);

    /// Lets what was spawned come to where it waits.
    async fn settle() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn users_take_turns() {
        let queue = Arc::new(FairQueue::new(1, 10, LONG));
        let order = Arc::new(Mutex::new(Vec::new()));
        let held = queue.seat("first").await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for user in ["greedy", "greedy", "greedy", "kubelet", "greedy", "scheduler"] {
            let (queue, order) = (queue.clone(), order.clone());
            tasks.spawn(async move {
                let _seat = queue.seat(user).await.unwrap();
                order.lock().unwrap().push(user);
            });
            settle().await;
        }
        drop(held);
        tasks.join_all().await;
        assert_eq!(*order.lock().unwrap(), ["greedy", "kubelet", "scheduler", "greedy", "greedy", "greedy"]);
        assert_eq!(lock(&queue.seats).free, 1);
        assert!(lock(&queue.seats).waiting.is_empty() && lock(&queue.seats).turns.is_empty());
    }

    #[tokio::test]
    async fn a_crowd_of_one_user_is_refused_and_others_are_not() {
        let queue = Arc::new(FairQueue::new(1, 2, LONG));
        let held = queue.seat("greedy").await.unwrap();
        let wait = |user: &'static str| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.seat(user).await.map(drop) })
        };
        let waiting = [wait("greedy"), wait("greedy")];
        settle().await;
        assert!(queue.seat("greedy").await.is_err());
        let other = wait("other");
        settle().await;
        // Who has gone makes room.
        waiting[0].abort();
        settle().await;
        let third = wait("greedy");
        settle().await;
        drop(held);
        assert!(other.await.unwrap().is_ok() && third.await.unwrap().is_ok());
        assert_eq!(lock(&queue.seats).free, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let queue = FairQueue::new(1, 2, Duration::from_secs(1));
        let held = queue.seat("a").await.unwrap();
        assert!(queue.seat("b").await.is_err());
        drop(held);
        assert_eq!(lock(&queue.seats).free, 1);
    }
}
