//! `spec.rclone.retention`: which copies are kept, by how old they are: of a destination its images, of a source the revisions at its path.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Which copies are kept: those that any of these rules keeps, unless they are older than `maxAge`. The newest one always is. Hours, days,
/// weeks and months are those of `spec.trigger.timeZone`, and a copy belongs to the one in which the source volume was captured.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.last) || has(self.hourly) || has(self.daily) || has(self.weekly) || has(self.monthly)")
    .message("write at least one of last, hourly, daily, weekly and monthly, such as {last: 3, daily: 7}: maxAge alone keeps nothing but the newest copy"))]
pub struct RetentionSpec {
    /// How many of the newest copies are kept, 1 to 100. Default: none beside the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub last: Option<u32>,

    /// Keeps the newest copy of each of the latest hours that have one, so many hours, 1 to 100. Default: no hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub hourly: Option<u32>,

    /// Keeps the newest copy of each of the latest days that have one, so many days, 1 to 100. Default: no days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub daily: Option<u32>,

    /// Keeps the newest copy of each of the latest weeks (Monday to Sunday) that have one, so many weeks, 1 to 100. Default: no weeks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub weekly: Option<u32>,

    /// Keeps the newest copy of each of the latest months that have one, so many months, 1 to 100. Default: no months.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub monthly: Option<u32>,

    /// Age from which on a copy goes although a rule keeps it, for example `90d`, counted from the capture of its data to the latest sync.
    /// Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,9}[dhms])+$') && self.matches('[1-9]')").message("write a duration such as '90d', '36h' or '1d12h'"))]
    #[schemars(length(max = 32))]
    pub max_age: Option<String>,
}
