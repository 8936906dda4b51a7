//! Validation.
use coracle_api::any::AnyObject;
use coracle_api::field::Errors;
pub(crate) fn create(_object: &AnyObject) -> Errors {
    Errors::new()
}
pub(crate) fn update(_new: &AnyObject, _old: &AnyObject, _sub: Option<&str>) -> Errors {
    Errors::new()
}
