//! Objects as the text that they are written as. A typed pod that only runs takes some 18 kB, its text less than 3.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_api::Object;

/// An object that is open while somebody works with it, and packed once they are done: all who hold it share one form.
/// Cheap to clone. To open a packed one costs about as much as to receive it.
pub struct Packed<K>(Arc<Mutex<Form<K>>>);

enum Form<K> {
    Open(Arc<K>),
    Text(Box<[u8]>),
}

impl<K> Clone for Packed<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Object> Packed<K> {
    /// An object that is at hand, and stays open until somebody is done with it.
    pub fn of(object: Arc<K>) -> Self {
        Self(Arc::new(Mutex::new(Form::Open(object))))
    }

    /// The object. What was packed stays packed.
    pub fn open(&self) -> Arc<K> {
        match &*self.form() {
            Form::Open(object) => object.clone(),
            Form::Text(json) => Arc::new(K::decode(json).expect("what was written as an object reads as one")),
        }
    }

    /// Says that nothing is to be done with the object for a while.
    pub fn pack(&self) {
        let mut form = self.form();
        if let Form::Open(object) = &*form {
            *form = Form::Text((&*object.encode()).into());
        }
    }

    fn form(&self) -> MutexGuard<'_, Form<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An object of a cache.
pub(super) enum Held<K> {
    Open(Arc<K>),
    Packed(Packed<K>),
}

impl<K> Clone for Held<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Open(object) => Self::Open(object.clone()),
            Self::Packed(packed) => Self::Packed(packed.clone()),
        }
    }
}

impl<K: Object> Held<K> {
    pub(super) fn open(&self) -> Arc<K> {
        match self {
            Self::Open(object) => object.clone(),
            Self::Packed(packed) => packed.open(),
        }
    }

    /// The object as it is held, for somebody who says when they are done with it.
    pub(super) fn packed(&self) -> Packed<K> {
        match self {
            Self::Open(object) => Packed::of(object.clone()),
            Self::Packed(packed) => packed.clone(),
        }
    }
}
