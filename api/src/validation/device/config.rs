//! What is handed to a driver as it is.

use k8s_openapi::api::resource::v1::OpaqueDeviceConfiguration;
use serde_json::Value;

use super::driver;
use crate::field::{Errors, Path};

const PARAMETERS_BYTES_MAX: usize = 10 * 1024;

pub(super) fn opaque(config: Option<&OpaqueDeviceConfiguration>, path: &Path<'_>, errors: &mut Errors) {
    let path = path.child("opaque");
    let Some(config) = config else { return errors.required(&path, "") };
    driver(&config.driver, &path.child("driver"), errors);
    parameters(&config.parameters.0, &path.child("parameters"), errors);
}

/// An object, not too large.
pub(super) fn parameters(value: &Value, path: &Path<'_>, errors: &mut Errors) {
    let bytes = || serde_json::to_vec(value).map_or(0, |json| json.len());
    match value {
        Value::Null => errors.required(path, ""),
        _ if bytes() > PARAMETERS_BYTES_MAX => errors.too_long(path, PARAMETERS_BYTES_MAX),
        Value::Object(_) => {}
        _ => errors.invalid(path, "<value omitted>", "must be a valid JSON object"),
    }
}
