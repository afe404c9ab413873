//! `spec.trigger`: when to sync. The same for both kinds.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// When a sync starts. Without `schedule` and `manual`, syncs run continuously: each starts `continuousInterval` (settings, 60 s) after the last one.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.timeZone) || !has(self.schedule) || !self.schedule.contains('TZ=')")
    .message("the time zone is given twice: keep either timeZone or the TZ= prefix of schedule"))]
#[x_kube(validation = Rule::new("!has(self.jitterSeconds) || self.jitterSeconds == 0 || has(self.schedule)")
    .message("jitterSeconds moves the scheduled times: add schedule or remove jitterSeconds"))]
pub struct TriggerSpec {
    /// Cron expression of five fields (minute, hour, day of month, month, day of week) such as `*/6 * * * *`, one of `@hourly`, `@daily`,
    /// `@midnight`, `@weekly`, `@monthly`, `@yearly`, `@annually`, or `@every` with a duration such as `90m`.
    /// Day of month and day of week are alternatives, as in cron. Default: no schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(r"self.matches('^\\s*((CRON_)?TZ=\\S+\\s+)?(\\S+\\s+\\S+\\s+\\S+\\s+\\S+\\s+\\S+|@(hourly|daily|midnight|weekly|monthly|yearly|annually)|@every\\s+\\S+)\\s*$')")
        .message("write five cron fields (minute hour day-of-month month day-of-week) such as '*/6 * * * *', a descriptor such as '@hourly', or '@every 90m'"))]
    #[schemars(length(max = 256))]
    pub schedule: Option<String>,

    /// IANA name of the time zone that `schedule` is read in, and in which `retention` counts, for example `Europe/Berlin`.
    /// Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(r"self.matches('^[A-Za-z][A-Za-z0-9_+/-]*$')")
        .message("write an IANA time zone name such as 'Europe/Berlin' or 'UTC'"))]
    #[schemars(length(max = 64))]
    pub time_zone: Option<String>,

    /// Any text, for example `before-upgrade`; a new value starts one sync at once. `status.lastManualSync` has the value when that sync is complete.
    /// Without `schedule` beside it nothing else starts one: it ends continuous syncing. Default: no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub manual: Option<String>,

    /// Whether a new object syncs at once (true) or waits for its first scheduled time (false). Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_on_create: Option<bool>,

    /// Delays every scheduled time by a constant amount below this number of seconds, different for each object, so that sites with the
    /// same schedule do not start in the same second. `status.nextSyncTime` includes the delay. 0 to 86400. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86400))]
    pub jitter_seconds: Option<u32>,
}
