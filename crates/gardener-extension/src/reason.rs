//! Fixed words of the engine's Events and metrics. People filter and alert by them, so none may change.

/// Event: an operation is done.
pub(crate) const SUCCEEDED: &str = "Succeeded";
/// Metric: a call of the actuator came to its end.
pub(crate) const DONE: &str = "Done";
/// Metric: a call of the actuator waits for something.
pub(crate) const PENDING: &str = "Pending";
/// An operation is pending for too long.
pub(crate) const OVERDUE: &str = "Overdue";
/// A call of the actuator did not return in time.
pub(crate) const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
/// The API does not take the status that is to be written.
pub(crate) const STATUS_REFUSED: &str = "StatusRefused";
/// An object on a watch, or an answer of the API, is not what its kind says.
pub(crate) const UNDECODABLE: &str = "Undecodable";
/// An object lacks what the API always sets.
pub(crate) const INCOMPLETE: &str = "Incomplete";
/// Somebody else changed the object meanwhile.
pub(crate) const CONFLICT: &str = "Conflict";
/// The API answered with an error, or could not be reached.
pub(crate) const API_ERROR: &str = "ApiError";
/// The API did not answer in time.
pub(crate) const API_TIMEOUT: &str = "ApiTimeout";
/// A providerConfig cannot be read.
pub(crate) const INVALID_PROVIDER_CONFIG: &str = "InvalidProviderConfig";

/// Reasons of Events that the engine publishes by itself; an actuator adds its own.
pub const OF_EVENTS: &[&str] = &[
    SUCCEEDED,
    OVERDUE,
    DEADLINE_EXCEEDED,
    STATUS_REFUSED,
    UNDECODABLE,
    INCOMPLETE,
    CONFLICT,
    API_ERROR,
    API_TIMEOUT,
    INVALID_PROVIDER_CONFIG,
];
