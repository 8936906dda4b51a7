//! The limits of what is read, in one place. Passing one is a clear [`ApiError`](crate::status::ApiError), never a
//! panic and never unbounded memory.

/// The largest request body, in bytes. Source: the API server's `MaxRequestBodyBytes`, 3 MiB.
pub const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;

/// The largest object that is stored, in bytes. Source: etcd's `--max-request-bytes`.
pub const OBJECT_BYTES_MAX: usize = 3 * 512 * 1024;

/// The deepest nesting of objects and arrays in a body. The deepest served type needs about 20 levels; a free-form JSON
/// schema may need more. Below serde_json's own limit of 128, so that ours is the one that answers.
pub const NESTING_MAX: usize = 100;

/// The deepest nesting of a custom resource's schema. One that came in a body is not deeper.
pub const SCHEMA_DEPTH_MAX: usize = NESTING_MAX;

/// What reading or writing YAML of that depth may take of the stack: four times what an unoptimized build needs. It is
/// address space, and becomes memory only as far as it is used.
pub const YAML_STACK_BYTES: usize = 16 * 1024 * 1024;

/// The most nodes of a YAML document.
pub const YAML_NODES_MAX: usize = 500_000;

/// How many nodes the aliases of a YAML document may repeat together.
pub const YAML_ALIASED_MAX: usize = 20_000;

/// How many unknown or duplicate fields are named before the rest are left out. Source: the API server warns of at most
/// this many.
pub const FINDINGS_MAX: usize = 100;

/// How many operations one JSON patch may have. Source: `JSONPatchMaxCopyBytes` and the `maxJSONPatchOperations` limit.
pub const PATCH_OPERATIONS_MAX: usize = 10_000;

/// How many bytes the `copy` operations of one JSON patch may add together.
pub const PATCH_COPY_BYTES_MAX: usize = BODY_BYTES_MAX;

/// Elements of lists that a JSON patch may move, counted once a move: a few tenths of a second.
pub const PATCH_MOVED_ELEMENTS_MAX: usize = 50_000_000;

/// The sum of the lengths of annotation keys and values. Source: `TotalAnnotationSizeLimitB`.
pub const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

/// The sum of the values of a ConfigMap or Secret. Source: `MaxSecretSize`.
pub const DATA_BYTES_MAX: usize = 1024 * 1024;

const _: () = assert!(NESTING_MAX < 128, "serde_json refuses 128 levels with an error of its own");
const _: () = assert!(
    DATA_BYTES_MAX < OBJECT_BYTES_MAX && OBJECT_BYTES_MAX < BODY_BYTES_MAX,
    "an object of the largest data fits"
);

/// How many managers of fields a client may give in an update. More are passed over, as entries that make no sense are.
pub const MANAGERS_GIVEN_MAX: usize = 1_000;

/// Seconds that a service account's token may be asked to last. Source: upstream's validation of `TokenRequest`.
pub const TOKEN_SECONDS_MIN: i64 = 10 * 60;
pub const TOKEN_SECONDS_MAX: i64 = 1 << 32;
