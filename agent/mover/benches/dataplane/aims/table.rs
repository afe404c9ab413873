//! The table of aims: what was done, what is aimed at, what was measured, and whether that is met.

/// The table, as far as it has come.
#[derive(Default)]
pub struct Aims {
    rows: String,
    missed: usize,
}

impl Aims {
    /// Adds a row, and shows it to whoever waits.
    pub fn add(&mut self, work: &str, aim: &str, measured: &str, met: bool) {
        let row = format!("| {work} | {aim} | {measured} | {} |\n", if met { "met" } else { "**missed**" });
        eprint!("{row}");
        self.rows.push_str(&row);
        self.missed += usize::from(!met);
    }

    /// Adds a row of which the measured number is at most `limit`, both in `unit`.
    pub fn at_most(&mut self, work: &str, value: u64, limit: u64, unit: &str) {
        self.add(work, &format!("≤ {limit} {unit}"), &format!("{value} {unit}"), value <= limit);
    }

    /// Adds a row of bytes, of which there are at most `limit`.
    pub fn bytes(&mut self, work: &str, what: &str, value: u64, limit: u64) {
        let shown = [limit, value].map(crate::table::megabytes);
        self.add(work, &format!("{what}: ≤ {}", shown[0]), &shown[1], value <= limit);
    }

    /// As Markdown.
    pub fn markdown(&self) -> String {
        format!("| work | aim | measured | |\n|---|---|---|---|\n{}", self.rows)
    }

    /// How many are missed.
    pub fn missed(&self) -> usize {
        self.missed
    }
}
