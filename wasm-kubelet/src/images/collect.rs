//! Gives the disk back: when it fills, images that no pod uses are removed, those first that were not used for longest,
//! until enough of it is free. What somebody loaded by hand stays, as nothing could bring it again.
//! Source: kubelet, `image_gc_manager.go`.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use super::store::{Digest, ImageStore, Listed, StoreError};
use crate::limits::{IMAGE_AGE_MIN, IMAGE_DISK_HIGH_PERCENT, IMAGE_DISK_LOW_PERCENT, IMAGE_PART_AGE_MAX};

/// The disk that images are on, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    pub bytes: u64,
    pub free_bytes: u64,
}

/// What a look at the disk came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collected {
    /// There is room.
    Nothing,
    Freed {
        bytes: u64,
    },
    /// More was wanted than could be removed.
    TooLittle {
        wanted_bytes: u64,
        freed_bytes: u64,
    },
}

/// Remembers when images were used; one a node.
#[derive(Debug)]
pub struct Collector {
    store: ImageStore,
    /// Until a look finds an image in use, it was last used when it came.
    used: HashMap<Digest, SystemTime>,
}

/// An image that might be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    digest: Digest,
    bytes: u64,
    came: SystemTime,
    used: SystemTime,
    is_kept: bool,
}

impl Disk {
    /// How much is to be freed: down to the low mark, once the high one is reached.
    fn wanted(self) -> u64 {
        let used_percent =
            100 - (self.free_bytes.min(self.bytes).saturating_mul(100)).checked_div(self.bytes).unwrap_or(100);
        if used_percent < IMAGE_DISK_HIGH_PERCENT {
            return 0;
        }
        (self.bytes / 100 * (100 - IMAGE_DISK_LOW_PERCENT)).saturating_sub(self.free_bytes)
    }
}

impl Collector {
    /// A collector of this store.
    pub fn new(store: ImageStore) -> Self {
        Self { store, used: HashMap::new() }
    }

    /// Notes what is used now, and removes what has to go. `is_pressed`: the node is short of disk, and every image that
    /// no pod uses goes.
    ///
    /// # Errors
    /// When the store cannot be read, or an image cannot be removed.
    pub fn look(
        &mut self,
        disk: Disk,
        is_pressed: bool,
        in_use: &HashSet<Digest>,
        now: SystemTime,
    ) -> Result<Collected, StoreError> {
        let held = self.held(self.store.list()?, in_use, now);
        let wanted = if is_pressed { u64::MAX } else { disk.wanted() };
        if wanted == 0 {
            return Ok(Collected::Nothing);
        }
        self.store.sweep(IMAGE_PART_AGE_MAX)?;
        let mut freed = 0;
        for digest in plan(held, wanted, now) {
            let bytes = self.store.remove_image(&digest)?;
            tracing::info!(image = %digest, bytes, "removed an unused image");
            freed += bytes;
        }
        match is_pressed || freed >= wanted {
            true => Ok(Collected::Freed { bytes: freed }),
            false => Ok(Collected::TooLittle { wanted_bytes: wanted, freed_bytes: freed }),
        }
    }

    fn held(&mut self, listed: Vec<Listed>, in_use: &HashSet<Digest>, now: SystemTime) -> Vec<Held> {
        let mut held: HashMap<Digest, Held> = HashMap::new();
        for Listed { digest, bytes, loaded, is_loaded, .. } in listed {
            let used = if in_use.contains(&digest) { now } else { *self.used.get(&digest).unwrap_or(&loaded) };
            let image = held.entry(digest).or_insert(Held { digest, bytes, came: loaded, used, is_kept: false });
            image.came = image.came.max(loaded);
            image.is_kept |= is_loaded || in_use.contains(&digest);
        }
        self.used = held.values().map(|image| (image.digest, image.used)).collect();
        held.into_values().collect()
    }
}

/// Which images go, in order.
fn plan(mut held: Vec<Held>, wanted_bytes: u64, now: SystemTime) -> Vec<Digest> {
    held.retain(|image| {
        let is_old = now.duration_since(image.came).is_ok_and(|age| age >= IMAGE_AGE_MIN);
        !image.is_kept && is_old
    });
    held.sort_by_key(|image| (image.used, image.came, image.digest));
    let mut freed = 0_u64;
    let chosen = held.into_iter().take_while(|image| {
        let is_enough = freed >= wanted_bytes;
        freed = freed.saturating_add(image.bytes);
        !is_enough
    });
    chosen.map(|image| image.digest).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::images::Reference;
    use crate::images::record::{Reader, Record};
    use std::time::Duration;

    #[test]
    fn the_disk_is_freed_from_the_high_mark_down_to_the_low_one() {
        let table = [(100, 0), (16, 0), (15, 5), (10, 10), (0, 20)];
        for (free_bytes, want) in table {
            assert_eq!(Disk { bytes: 100, free_bytes }.wanted(), want, "{free_bytes}");
        }
        assert_eq!(Disk { bytes: 0, free_bytes: 0 }.wanted(), 0, "a disk that cannot be seen is not full");
    }

    #[test]
    fn unused_images_go_first_and_those_in_use_never() {
        let dir = tempfile::tempdir().unwrap();
        let store = ImageStore::open(dir.path()).unwrap();
        let pulled = |name: &str| {
            let bytes = format!("{name:>10}");
            let mut incoming = store.begin().unwrap();
            incoming.write(bytes.as_bytes()).unwrap();
            let digest = incoming.place_any().unwrap();
            let record = Record { manifest: Some(digest), readers: vec![Reader::Anybody], ..Record::of(digest) };
            store.name(&[format!("r.example/{name}:v1"), format!("r.example/{name}@{digest}")], &record).unwrap();
            digest
        };
        let [old, used, other, third] = ["old", "used", "other", "third"].map(pulled);
        let loaded = store.load(&Reference::parse("loaded").unwrap(), &b"0123456789"[..]).unwrap();

        let mut collector = Collector::new(store.clone());
        let start = SystemTime::now() + Duration::from_secs(1);
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut look = |free_bytes, is_pressed, in_use: &[Digest], now| {
            let disk = Disk { bytes: 1000, free_bytes };
            collector.look(disk, is_pressed, &in_use.iter().copied().collect(), now).unwrap()
        };
        let here = |digest: &Digest| store.blob(digest).exists();
        let full = 190;
        assert_eq!(look(full, true, &[], at(0)), Collected::Freed { bytes: 0 }, "all are too young");
        assert_eq!(look(500, false, &[used, other, third], at(1000)), Collected::Nothing);
        assert_eq!(look(500, false, &[used, other], at(2000)), Collected::Nothing);
        // 85 % are in use below 150: wanted is what lacks to 200.
        assert_eq!(look(149, false, &[used], at(3000)), Collected::TooLittle { wanted_bytes: 51, freed_bytes: 30 });
        assert!(![old, third, other].iter().any(here), "all but what is used and what was loaded");
        assert!(here(&used) && here(&loaded));

        let [a, b] = ["a", "b"].map(pulled);
        look(500, false, &[b], at(3100));
        look(500, false, &[a, b], at(3200));
        look(500, false, &[b], at(3300));
        assert_eq!(look(149, false, &[used], at(4000)), Collected::TooLittle { wanted_bytes: 51, freed_bytes: 20 });
        let names: Vec<String> = store.list().unwrap().into_iter().map(|listed| listed.name).collect();
        assert_eq!(names, ["loaded:latest".to_owned(), "r.example/used:v1".into(), format!("r.example/used@{used}")]);
    }

    #[test]
    fn no_more_goes_than_has_to_and_the_longest_unused_first() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000);
        let held = |name: &str, used| {
            let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            Held { digest: Digest::of(name.as_bytes()), bytes: 10, came: at(1), used: at(used), is_kept: false }
        };
        let all = vec![held("c", 30), held("a", 10), Held { is_kept: true, ..held("kept", 1) }, held("b", 20)];
        let names = |wanted| {
            let name = |digest: &Digest| ["a", "b", "c"].into_iter().find(|it| Digest::of(it.as_bytes()) == *digest);
            plan(all.clone(), wanted, now).iter().map(|it| name(it).unwrap()).collect::<String>()
        };
        assert_eq!([names(0), names(1), names(10), names(11), names(99)], ["", "a", "a", "ab", "abc"]);
    }
}
