//! The result: a Markdown table of aims and figures, and whether each aim is met.

use crate::measure::Cost;

/// One row.
pub struct Row {
    work: String,
    aims: Vec<(String, bool)>,
    ours: Option<Cost>,
    peer: Option<Cost>,
}

impl Row {
    /// What was done, and what it cost. Without a cost, it is a row of aims alone.
    pub fn new(work: impl Into<String>, ours: Option<&Cost>, peer: Option<&Cost>) -> Self {
        Self { work: work.into(), aims: Vec::new(), ours: ours.cloned(), peer: peer.cloned() }
    }

    /// Adds an aim: what it says, and whether it is met.
    pub fn aim(mut self, words: impl Into<String>, met: bool) -> Self {
        self.aims.push((words.into(), met));
        self
    }

    /// `value` is at most `limit`, both in `unit`.
    pub fn at_most(self, value: u64, limit: u64, unit: &str) -> Self {
        self.aim(format!("≤ {limit} {unit}"), value <= limit)
    }
}

/// The whole table.
#[derive(Default)]
pub struct Table(Vec<Row>);

impl Table {
    /// Adds a row, and says so to whoever waits.
    pub fn push(&mut self, row: Row) {
        eprintln!("{}", line(&row));
        self.0.push(row);
    }

    /// As Markdown.
    pub fn markdown(&self) -> String {
        let head = "| work | aim | | requests | file data read | up / down | seconds | resident: first process / all |\n|---|---|---|---|---|---|---|---|\n";
        self.0.iter().fold(head.to_owned(), |text, row| text + &line(row) + "\n")
    }

    /// How many aims are missed.
    pub fn missed(&self) -> usize {
        self.0.iter().flat_map(|row| &row.aims).filter(|(_, met)| !met).count()
    }
}

fn line(row: &Row) -> String {
    let aims: Vec<&str> = row.aims.iter().map(|(words, _)| words.as_str()).collect();
    let missed: Vec<&str> = row.aims.iter().filter(|(_, met)| !met).map(|(words, _)| words.as_str()).collect();
    let met = match (aims.is_empty(), missed.is_empty()) {
        (true, _) => String::new(),
        (_, true) => "met".into(),
        (_, false) => format!("**missed: {}**", missed.join(", ")),
    };
    let cell = |of: &dyn Fn(&Cost) -> String| match (&row.ours, &row.peer) {
        (None, None) => String::new(),
        (ours, None) => ours.as_ref().map_or_else(String::new, of),
        (ours, peer) => {
            let [ours, peer] = [ours, peer].map(|cost| cost.as_ref().map_or_else(|| "–".to_owned(), of));
            format!("{ours} (peer {peer})")
        }
    };
    format!(
        "| {} | {} | {met} | {} | {} | {} | {} | {} |",
        row.work,
        aims.join(", "),
        cell(&|cost| cost.traffic.requests().to_string()),
        cell(&|cost| megabytes(cost.disk_read)),
        cell(&|cost| format!("{} / {}", megabytes(cost.traffic.up), megabytes(cost.traffic.down))),
        cell(&|cost| format!("{:.1}", cost.wall.as_secs_f64())),
        cell(&|cost| format!("{} / {}", megabytes(cost.resident_own), megabytes(cost.resident))),
    )
}

/// In MB, one decimal where it says something.
pub fn megabytes(bytes: u64) -> String {
    match bytes {
        0 => "0".into(),
        1..100_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        100_000..10_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}
