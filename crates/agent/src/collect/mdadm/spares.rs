//! How many spares an array should have: `spares=` in mdadm.conf(5), which `mdadm --monitor` judges by too.

use std::collections::BTreeMap;

use crate::collect::block::md_uuid;
use crate::collect::draft::Draft;
use crate::host::Host;

/// By array UUID; empty without a file.
pub(super) async fn expected(host: &Host, draft: &mut Draft) -> BTreeMap<String, u64> {
    for path in ["mdadm/mdadm.conf", "mdadm.conf"] {
        match host.read_etc(path).await {
            Ok(Some(text)) => return parse(&text),
            Ok(None) => {}
            Err(error) => draft.error(path, &error),
        }
    }
    BTreeMap::new()
}

/// Lines that begin with a blank go on with the line before.
fn parse(text: &str) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let mut words: Vec<&str> = Vec::new();
    for line in text.lines().chain(["end"]) {
        let content = line.split('#').next().unwrap_or_default();
        if !line.starts_with([' ', '\t']) {
            found.extend(array(&words));
            words.clear();
        }
        words.extend(content.split_whitespace());
    }
    found
}

fn array(words: &[&str]) -> Option<(String, u64)> {
    let (first, rest) = words.split_first()?;
    first.eq_ignore_ascii_case("array").then_some(())?;
    let value = |wanted: &str| {
        let mut pairs = rest.iter().filter_map(|word| word.split_once('='));
        pairs
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value)
    };
    Some((md_uuid(value("uuid")?)?, value("spares")?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spares_are_read_over_lines_and_comments() {
        let text = "# x\nDEVICE partitions\nARRAY /dev/md0 metadata=1.2 spares=2\n   UUID=4eb7912d:d05a9a45:fcb34d9d:19344810\n\
                    array /dev/md1 uuid=fdf7d034:0954da34:ac5e0f51:49ab51a1\n";
        let found = parse(text);
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            [("4eb7912d:d05a9a45:fcb34d9d:19344810".to_owned(), 2)]
        );
        assert!(parse("").is_empty() && parse("ARRAY\nARRAY spares=1 uuid=x\n").is_empty());
    }
}
