//! The result: a Markdown table, one row for each work and contender.

use super::run::Costs;
use crate::measure::Cost;
use crate::table::megabytes;

/// The table's head.
pub const HEAD: &str = "| work | contender | requests | up / down | disk read / written | memory | processor | time beside Files |\n|---|---|---|---|---|---|---|---|\n";

/// The rows of one work.
pub fn rows(work: &str, Costs(costs): &Costs) -> String {
    let first = costs.first().map_or(1.0, |(_, cost)| cost.wall.as_secs_f64());
    let row = |(number, (name, cost)): (usize, &(&str, Cost))| {
        let verbs = cost.traffic.methods.iter().map(|(verb, count)| format!("{count} {verb}")).collect::<Vec<_>>().join(", ");
        let failed = match cost.traffic.server_errors {
            0 => String::new(),
            errors => format!("; {errors} of them failed by the server"),
        };
        format!(
            "| {} | {name} | {verbs}{failed} | {} / {} | {} / {} | {} | {:.1} s | {:.2} |\n",
            if number == 0 { work } else { "" },
            megabytes(cost.traffic.up),
            megabytes(cost.traffic.down),
            megabytes(cost.disk_read),
            megabytes(cost.disk_written),
            megabytes(cost.resident),
            cost.cpu.as_secs_f64(),
            cost.wall.as_secs_f64() / first,
        )
    };
    costs.iter().enumerate().map(row).collect()
}
