//! An object of whichever served kind: what the API server's handlers and strategies pass about.

use std::any::Any;
use std::fmt::Debug;

use bytes::Bytes;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::codec;
use crate::custom::CustomObject;
use crate::defaults::Defaults;
use crate::field::Errors;
use crate::object::{DecodeError, Object};
use crate::table::{Cells, Completed};
use crate::validation::Validate;

/// An object whose type is known at run time only.
///
/// The managers of its fields are not in its metadata but beside it, as text: see [`ownership`](crate::ownership).
#[derive(Debug)]
pub struct AnyObject {
    object: Box<dyn Erased>,
    managed: Bytes,
}

/// What every [`Object`] can do without being named.
pub(crate) trait Erased: Any + Debug + Send + Sync {
    fn meta(&self) -> &ObjectMeta;
    fn meta_mut(&mut self) -> &mut ObjectMeta;
    fn api_version(&self) -> &str;
    fn kind(&self) -> &str;
    fn encode(&self) -> Bytes;
    fn clone_box(&self) -> Box<dyn Erased>;
    fn equals(&self, other: &dyn Erased) -> bool;
    fn set_defaults(&mut self);
    fn validate(&self, errors: &mut Errors);
    fn validate_update(&self, old: &dyn Erased, errors: &mut Errors);
    fn validate_status(&self, old: &dyn Erased, errors: &mut Errors);
    fn cells(&self, now: Timestamp) -> Vec<Value>;
    fn completed(&self) -> Option<Completed> {
        None
    }
}

impl<T: Object> Erased for T {
    fn meta(&self) -> &ObjectMeta {
        self.metadata()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.metadata_mut()
    }

    fn api_version(&self) -> &str {
        T::API_VERSION
    }

    fn kind(&self) -> &str {
        T::KIND
    }

    fn encode(&self) -> Bytes {
        Object::encode(self)
    }

    fn clone_box(&self) -> Box<dyn Erased> {
        Box::new(self.clone())
    }

    fn equals(&self, other: &dyn Erased) -> bool {
        same_type(self, other).is_some_and(|other| self == other)
    }

    fn set_defaults(&mut self) {
        Defaults::set_defaults(self);
    }

    fn validate(&self, errors: &mut Errors) {
        Validate::validate(self, errors);
    }

    fn validate_update(&self, old: &dyn Erased, errors: &mut Errors) {
        if let Some(old) = same_type(self, old) {
            Validate::validate_update(self, old, errors);
        }
    }

    fn validate_status(&self, old: &dyn Erased, errors: &mut Errors) {
        if let Some(old) = same_type(self, old) {
            Validate::validate_status(self, old, errors);
        }
    }

    fn cells(&self, now: Timestamp) -> Vec<Value> {
        Cells::cells(self, now)
    }

    fn completed(&self) -> Option<Completed> {
        Cells::completed(self)
    }
}

/// Another object, if it is of the same type as this one.
fn same_type<'o, T: Object>(_: &T, other: &'o dyn Erased) -> Option<&'o T> {
    (other as &dyn Any).downcast_ref()
}

impl AnyObject {
    /// Forgets the type of an object.
    #[must_use]
    pub fn new<T: Object>(object: T) -> Self {
        Self { object: Box::new(object), managed: Bytes::new() }
    }

    /// Reads an object of type `T`: the decoder of a row of the table of kinds.
    ///
    /// # Errors
    /// As [`Object::decode`].
    pub fn decode<T: Object>(json: &[u8]) -> Result<Self, DecodeError> {
        Self::decode_with(json, |json| T::decode(json).map(Self::new))
    }

    /// Reads an object by `decode`, which is given the text without the managers of its fields.
    pub(crate) fn decode_with(
        json: &[u8],
        decode: impl FnOnce(&[u8]) -> Result<Self, DecodeError>,
    ) -> Result<Self, DecodeError> {
        let mut object = match codec::split_managed(json) {
            Some((rest, managed)) => Self { managed, ..decode(&rest)? },
            None => decode(json)?,
        };
        object.meta_mut().managed_fields = None;
        Ok(object)
    }

    /// The managers of its fields, as JSON: nothing when none are told.
    #[must_use]
    pub fn managed(&self) -> &Bytes {
        &self.managed
    }

    /// Says who manages its fields.
    pub fn set_managed(&mut self, managed: impl Into<Bytes>) {
        self.managed = managed.into();
    }

    /// The same object as another type has it, or this again when it is of another type than `T`.
    ///
    /// # Errors
    /// When it is not a `T`.
    pub fn convert<T: Object, U: Object>(mut self, convert: impl FnOnce(T) -> U) -> Result<Self, Self> {
        let managed = std::mem::take(&mut self.managed);
        match self.downcast::<T>() {
            Ok(object) => Ok(Self { managed, ..Self::new(convert(object)) }),
            Err(object) => Err(Self { managed, ..object }),
        }
    }

    pub(crate) fn of_custom(object: CustomObject) -> Self {
        Self { object: Box::new(object), managed: Bytes::new() }
    }

    /// The object, if it is of a custom kind.
    #[must_use]
    pub fn custom(&self) -> Option<&CustomObject> {
        (&*self.object as &dyn Any).downcast_ref()
    }

    /// The object, to be changed, if it is of a custom kind.
    #[must_use]
    pub fn custom_mut(&mut self) -> Option<&mut CustomObject> {
        (&mut *self.object as &mut dyn Any).downcast_mut()
    }

    pub(crate) fn erased(&self) -> &dyn Erased {
        &*self.object
    }

    pub(crate) fn erased_mut(&mut self) -> &mut dyn Erased {
        &mut *self.object
    }

    #[must_use]
    pub fn meta(&self) -> &ObjectMeta {
        self.object.meta()
    }

    pub fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.object.meta_mut()
    }

    /// Its name, empty if it has none yet.
    #[must_use]
    pub fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }

    /// Its namespace, empty if it is in none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.meta().namespace.as_deref().unwrap_or_default()
    }

    /// `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> &str {
        self.object.api_version()
    }

    /// `Deployment`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.object.kind()
    }

    /// Writes the object as Kubernetes would, with `apiVersion` and `kind`.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        codec::join_managed(self.encode_alone(), &self.managed)
    }

    /// As [`AnyObject::encode`], without the managers of its fields.
    #[must_use]
    pub fn encode_alone(&self) -> Bytes {
        self.object.encode()
    }

    #[must_use]
    pub fn is<T: Object>(&self) -> bool {
        self.downcast_ref::<T>().is_some()
    }

    #[must_use]
    pub fn downcast_ref<T: Object>(&self) -> Option<&T> {
        (&*self.object as &dyn Any).downcast_ref()
    }

    #[must_use]
    pub fn downcast_mut<T: Object>(&mut self) -> Option<&mut T> {
        (&mut *self.object as &mut dyn Any).downcast_mut()
    }

    /// The typed object, or this again when it is of another type.
    ///
    /// # Errors
    /// When it is not a `T`.
    pub fn downcast<T: Object>(self) -> Result<T, Self> {
        if self.is::<T>() {
            let any: Box<dyn Any> = self.object;
            Ok(*any.downcast().expect("the type was looked at"))
        } else {
            Err(self)
        }
    }
}

impl Clone for AnyObject {
    fn clone(&self) -> Self {
        Self { object: self.object.clone_box(), managed: self.managed.clone() }
    }
}

impl PartialEq for AnyObject {
    fn eq(&self, other: &Self) -> bool {
        self.object.equals(&*other.object) && self.managed == other.managed
    }
}

impl<T: Object> From<T> for AnyObject {
    fn from(object: T) -> Self {
        Self::new(object)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ConfigMap, Pod};

    use super::*;

    #[test]
    fn types_are_forgotten_and_found_again() {
        let mut any = AnyObject::new(Pod::default());
        any.meta_mut().name = Some("p".to_owned());
        assert_eq!((any.name(), any.namespace(), any.api_version(), any.kind()), ("p", "", "v1", "Pod"));
        assert!(any.downcast_ref::<ConfigMap>().is_none());
        assert_eq!(any.clone(), any);
        assert_ne!(any, AnyObject::new(Pod::default()));
        let any = any.downcast::<ConfigMap>().expect_err("not a config map");
        assert_eq!(any.downcast::<Pod>().expect("a pod").metadata.name.as_deref(), Some("p"));
    }
}
