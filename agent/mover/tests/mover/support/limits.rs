//! The figures of `tests/budget.toml`, which the tests hold what they count against. No limit of a request count is written anywhere else.

/// Only what this file needs of TOML: `name = number`, with comments and section names between.
const FILE: &str = include_str!("../../../../../tests/budget.toml");

/// The figure of that name. Fails where there is none, or more than one.
pub(crate) fn figure(name: &str) -> usize {
    let lines = FILE.lines().filter_map(|line| line.split('#').next()?.split_once('='));
    let mut found = lines.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().replace('_', ""));
    match (found.next(), found.next()) {
        (Some(value), None) => value.parse().unwrap_or_else(|_| panic!("tests/budget.toml: {name}: not a whole number: {value}")),
        (None, _) => panic!("tests/budget.toml has no {name}"),
        (Some(_), Some(_)) => panic!("tests/budget.toml has {name} twice"),
    }
}

/// What was counted is the figure of that name, neither more nor less: one that got better is lowered in the file, so that it stays so.
#[track_caller]
pub(crate) fn exactly(name: &str, counted: usize, details: &dyn std::fmt::Debug) {
    let figure = figure(name);
    assert!(counted <= figure, "{name}: {counted}, and tests/budget.toml allows {figure}: {details:?}");
    assert!(counted == figure, "{name}: {counted}, which is better than the {figure} of tests/budget.toml: lower it there. {details:?}");
}
