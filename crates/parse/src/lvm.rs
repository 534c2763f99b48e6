//! Reports of LVM as JSON: `lvm fullreport`, `pvs`, `vgs`, `lvs`, one after another or together.
//!
//! lvmreport(7), lvs(8) and `lib/report/columns.h` of LVM 2.02 to 2.03. `json` quotes every value, `json_std` (2.03.17)
//! only texts; sizes come with or without a unit. Rows are looked for wherever they are, so that a change of what is
//! around them does no harm. A volume has a row for each of its segments when segments are asked for.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::problem::{Parsed, Problems, excerpt};

/// Most rows of one kind that are kept.
pub const ROWS_MAX: usize = 8_192;
/// Documents that may follow one another.
const DOCUMENTS_MAX: usize = 16;

/// Everything that is reported.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Physical volumes.
    pub pvs: Vec<PhysicalVolume>,
    /// Volume groups.
    pub vgs: Vec<VolumeGroup>,
    /// Logical volumes, inner ones included.
    pub lvs: Vec<LogicalVolume>,
}

/// A physical volume.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PhysicalVolume {
    /// Its device; `[unknown]` or `unknown device` if it is missing.
    pub name: String,
    /// Its UUID.
    pub uuid: Option<String>,
    /// The group it belongs to.
    pub vg_name: Option<String>,
    /// Bytes that can be used.
    pub size_bytes: Option<u64>,
    /// Bytes that nothing uses.
    pub free_bytes: Option<u64>,
    /// Major and minor number of the device.
    pub numbers: Option<(u32, u32)>,
    /// The letters of its state.
    pub attr: Option<String>,
    /// Whether the device is not there.
    pub is_missing: bool,
    /// Whether several devices say that they are it.
    pub is_duplicate: bool,
}

/// A volume group.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct VolumeGroup {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: Option<String>,
    /// Bytes in all.
    pub size_bytes: Option<u64>,
    /// Bytes that no volume uses.
    pub free_bytes: Option<u64>,
    /// Bytes of an extent.
    pub extent_bytes: Option<u64>,
    /// Physical volumes.
    pub pv_count: Option<u64>,
    /// Physical volumes that are missing.
    pub missing_pv_count: Option<u64>,
    /// Logical volumes.
    pub lv_count: Option<u64>,
    /// Snapshots.
    pub snapshot_count: Option<u64>,
    /// The letters of its state.
    pub attr: Option<String>,
    /// Whether a part of it is missing.
    pub is_partial: bool,
    /// Whether it was exported.
    pub is_exported: bool,
}

/// A piece of a logical volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Segment {
    /// `linear`, `raid1`, `thin-pool`, `error`, …
    pub kind: Option<String>,
    /// What it lies on: devices, or inner volumes of the group.
    pub devices: Vec<String>,
    /// How a cache treats writes: `writethrough`, `writeback`, `passthrough`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_mode: Option<String>,
}

/// A logical volume.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LogicalVolume {
    /// Its name, without the brackets of inner ones.
    pub name: String,
    /// Whether it only serves another.
    pub is_inner: bool,
    /// Its UUID.
    pub uuid: Option<String>,
    /// The group it belongs to.
    pub vg_name: String,
    /// The ten letters of its state.
    pub attr: Option<String>,
    /// What it is made as: `raid`, `raid1`, …
    pub layout: Vec<String>,
    /// What it is for: `public`, `snapshot`, …
    pub role: Vec<String>,
    /// Its pieces, in order.
    pub segments: Vec<Segment>,
    /// Every other field that has a value, by name.
    pub fields: BTreeMap<String, String>,
}

impl LogicalVolume {
    /// `vg/lv`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.vg_name, self.name)
    }

    /// One letter of the state, counted from 1 as lvs(8) does; `None` for `-`.
    #[must_use]
    pub fn letter(&self, place: usize) -> Option<char> {
        let letter = self.attr.as_deref()?.chars().nth(place.checked_sub(1)?)?;
        (letter != '-').then_some(letter)
    }

    /// A field as text.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
    }

    /// A field as bytes.
    #[must_use]
    pub fn bytes(&self, field: &str) -> Option<u64> {
        bytes(self.text(field)?)
    }

    /// A field as a count; -1 is none.
    #[must_use]
    pub fn count(&self, field: &str) -> Option<u64> {
        self.text(field)?.parse().ok()
    }

    /// A field as a percentage.
    #[must_use]
    pub fn percent(&self, field: &str) -> Option<f64> {
        let percent: f64 = self.text(field)?.trim_end_matches('%').parse().ok()?;
        (0.0..=100.0).contains(&percent).then_some(percent)
    }

    /// Whether a field that is said with a word, or with 1, is set.
    #[must_use]
    pub fn is_set(&self, field: &str) -> bool {
        self.text(field)
            .is_some_and(|word| !matches!(word, "0" | "unknown" | "-1" | "no" | "n"))
    }

    /// The names of what it lies on, each once.
    #[must_use]
    pub fn devices(&self) -> Vec<&str> {
        let mut found = Vec::new();
        for device in self.segments.iter().flat_map(|segment| &segment.devices) {
            if !found.contains(&device.as_str()) {
                found.push(device.as_str());
            }
        }
        found
    }
}

/// Reads every report.
#[must_use]
pub fn parse(text: &str) -> Parsed<Report> {
    let mut reader = Reader::default();
    let mut rest = text;
    for _ in 0..DOCUMENTS_MAX {
        rest = reader.skip_words(rest);
        if rest.is_empty() {
            break;
        }
        let mut documents = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        match documents.next() {
            Some(Ok(document)) => {
                reader.documents += 1;
                reader.walk(&document, None);
                rest = &rest[documents.byte_offset()..];
            }
            Some(Err(error)) => {
                reader
                    .problems
                    .overall(format!("no whole JSON document: {error}"));
                rest = "";
            }
            None => rest = "",
        }
    }
    if reader.documents == 0 {
        reader.problems.overall("no report in JSON");
    } else if !rest.trim().is_empty() {
        reader.problems.overall(format!(
            "more than {DOCUMENTS_MAX} documents: the rest is left out"
        ));
    }
    reader.finish()
}

#[derive(Debug, Default)]
struct Reader {
    problems: Problems,
    report: Report,
    documents: usize,
    /// Places of logical volumes by group and name, for their further segments.
    places: BTreeMap<(String, String), usize>,
    by_uuid: BTreeMap<String, usize>,
    /// Segments that come apart from their volumes.
    apart: Vec<(String, Segment)>,
    left_out: usize,
}

impl Reader {
    /// What LVM warns of goes to stderr and may have been recorded along: it is said, and passed over.
    fn skip_words<'a>(&mut self, text: &'a str) -> &'a str {
        let mut rest = text;
        loop {
            rest = rest.trim_start();
            if rest.is_empty() || rest.starts_with('{') {
                return rest;
            }
            let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
            self.problems
                .overall(format!("LVM says: {}", excerpt_long(line.trim())));
            rest = after;
        }
    }

    /// Depth is bounded by the JSON parser.
    fn walk(&mut self, value: &Value, vg: Option<&str>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.walk(item, vg)),
            Value::Object(object) => {
                // In a full report the rows of a group stand beside it and do not name it.
                let own = object.get("vg").and_then(Value::as_array).map(Vec::as_slice);
                let own = match own {
                    Some([Value::Object(row)]) => text(row, "vg_name"),
                    _ => None,
                };
                let vg = own.as_deref().or(vg);
                for (name, below) in object {
                    match (name.as_str(), below) {
                        ("pv" | "vg" | "lv" | "seg", Value::Array(rows)) => {
                            rows.iter().for_each(|row| self.row(name, row, vg));
                        }
                        ("pvseg" | "log", Value::Array(_)) => {}
                        _ => self.walk(below, vg),
                    }
                }
            }
            _ => {}
        }
    }

    fn row(&mut self, kind: &str, row: &Value, vg: Option<&str>) {
        let Some(row) = row.as_object() else {
            let row = row.to_string();
            self.problems
                .overall(format!("a row of {kind} is no object: {}", excerpt(&row)));
            return;
        };
        let kept = match kind {
            "pv" => self.report.pvs.len(),
            "vg" => self.report.vgs.len(),
            "lv" => self.report.lvs.len(),
            _ => self.apart.len(),
        };
        if ROWS_MAX <= kept {
            self.left_out += 1;
            return;
        }
        let is_read = match kind {
            "pv" => self.pv(row, vg),
            "vg" => self.vg(row),
            "lv" => self.lv(row, vg),
            _ => self.segment(row),
        };
        if !is_read {
            let row = Value::Object(row.clone()).to_string();
            self.problems
                .overall(format!("a row of {kind} names nothing: {}", excerpt(&row)));
        }
    }

    fn pv(&mut self, row: &Map<String, Value>, vg: Option<&str>) -> bool {
        let Some(name) = text(row, "pv_name") else {
            return false;
        };
        let attr = text(row, "pv_attr");
        let number = |key: &str| text(row, key).and_then(|word| word.parse::<u32>().ok());
        let is_unknown = name.starts_with("[unknown") || name == "unknown device";
        let has_m = attr
            .as_deref()
            .is_some_and(|attr| attr.chars().nth(2) == Some('m'));
        let pv = PhysicalVolume {
            uuid: text(row, "pv_uuid"),
            vg_name: text(row, "vg_name").or_else(|| vg.map(str::to_owned)),
            size_bytes: self.bytes(row, "pv_size"),
            free_bytes: self.bytes(row, "pv_free"),
            numbers: number("pv_major").zip(number("pv_minor")).filter(|_| !is_unknown),
            is_missing: is_unknown || has_m || is_said(row, "pv_missing"),
            is_duplicate: is_said(row, "pv_duplicate"),
            name,
            attr,
        };
        let is_same = |other: &PhysicalVolume| match (&pv.uuid, &other.uuid) {
            (Some(one), Some(other)) => one == other,
            _ => pv.name == other.name && !is_unknown,
        };
        // The same one may be in several reports.
        if !self.report.pvs.iter().any(is_same) {
            self.report.pvs.push(pv);
        }
        true
    }

    fn vg(&mut self, row: &Map<String, Value>) -> bool {
        let Some(name) = text(row, "vg_name") else {
            // Physical volumes without a group come with an empty one.
            return row.is_empty() || text(row, "vg_uuid").is_none();
        };
        let attr = text(row, "vg_attr");
        let letter = |place: usize| attr.as_deref().and_then(|attr| attr.chars().nth(place));
        let count = |key: &str| text(row, key).and_then(|word| word.parse::<u64>().ok());
        let missing_pv_count = count("vg_missing_pv_count");
        let vg = VolumeGroup {
            uuid: text(row, "vg_uuid"),
            size_bytes: self.bytes(row, "vg_size"),
            free_bytes: self.bytes(row, "vg_free"),
            extent_bytes: self.bytes(row, "vg_extent_size"),
            pv_count: count("pv_count"),
            missing_pv_count,
            lv_count: count("lv_count"),
            snapshot_count: count("snap_count"),
            is_partial: letter(3) == Some('p')
                || is_said(row, "vg_partial")
                || missing_pv_count.is_some_and(|count| 0 < count),
            is_exported: letter(2) == Some('x') || is_said(row, "vg_exported"),
            name,
            attr,
        };
        let is_same = |other: &VolumeGroup| vg.name == other.name && vg.uuid == other.uuid;
        if !self.report.vgs.iter().any(is_same) {
            self.report.vgs.push(vg);
        }
        true
    }

    fn lv(&mut self, row: &Map<String, Value>, vg: Option<&str>) -> bool {
        let full = text(row, "lv_full_name");
        let (of_full, name_of_full) = match full.as_deref().and_then(|full| full.split_once('/')) {
            Some((vg, name)) => (Some(vg), Some(name)),
            None => (None, None),
        };
        let Some(shown) = text(row, "lv_name").or_else(|| name_of_full.map(str::to_owned)) else {
            return false;
        };
        let vg_name = text(row, "vg_name");
        let vg_name = vg_name
            .as_deref()
            .or(of_full)
            .or(vg)
            .unwrap_or_default()
            .to_owned();
        let is_inner = shown.starts_with('[');
        let name = bare(&shown).to_owned();
        let uuid = text(row, "lv_uuid");
        let segment = segment_of(row);
        let known = uuid
            .as_ref()
            .and_then(|uuid| self.by_uuid.get(uuid))
            .or_else(|| self.places.get(&(vg_name.clone(), name.clone())));
        if let Some(&place) = known {
            let volume = &mut self.report.lvs[place];
            volume
                .segments
                .extend(segment.filter(|new| !volume.segments.contains(new)));
            return true;
        }
        let mut volume = LogicalVolume {
            attr: text(row, "lv_attr"),
            layout: list(row, "lv_layout"),
            role: list(row, "lv_role"),
            segments: segment.into_iter().collect(),
            is_inner,
            uuid,
            vg_name,
            name,
            fields: BTreeMap::new(),
        };
        let first = volume.letter(1);
        volume.is_inner |= matches!(first, Some('i' | 'I' | 'l' | 'e' | 'T' | 'D'));
        volume.fields = row
            .keys()
            .filter_map(|key| Some((key.clone(), text(row, key)?)))
            .collect();
        self.check(&volume);
        let place = self.report.lvs.len();
        self.places
            .insert((volume.vg_name.clone(), volume.name.clone()), place);
        self.by_uuid.extend(volume.uuid.clone().map(|uuid| (uuid, place)));
        self.report.lvs.push(volume);
        true
    }

    /// Says what of a volume makes no sense, so that it is not taken for absent.
    fn check(&mut self, volume: &LogicalVolume) {
        const PERCENTS: [&str; 5] = [
            "data_percent",
            "metadata_percent",
            "snap_percent",
            "copy_percent",
            "sync_percent",
        ];
        let name = volume.full_name();
        for field in PERCENTS {
            let odd = volume
                .text(field)
                .filter(|word| *word != "-1" && *word != "-1.00");
            if let Some(odd) = odd.filter(|_| volume.percent(field).is_none()) {
                self.problems
                    .overall(format!("{name}: {field} is no percentage: {}", excerpt(odd)));
            }
        }
        if let Some(odd) = volume
            .text("lv_size")
            .filter(|_| volume.bytes("lv_size").is_none())
        {
            self.problems
                .overall(format!("{name}: lv_size is no size: {}", excerpt(odd)));
        }
        if let Some(attr) = volume.attr.as_deref().filter(|attr| attr.chars().count() < 9) {
            self.problems
                .overall(format!("{name}: lv_attr is too short: {}", excerpt(attr)));
        }
    }

    fn segment(&mut self, row: &Map<String, Value>) -> bool {
        let Some(segment) = segment_of(row) else {
            return true;
        };
        match text(row, "lv_uuid") {
            Some(uuid) => {
                self.apart.push((uuid, segment));
                true
            }
            None => false,
        }
    }

    fn bytes(&mut self, row: &Map<String, Value>, key: &str) -> Option<u64> {
        let word = text(row, key)?;
        let number = bytes(&word);
        if number.is_none() {
            self.problems
                .overall(format!("{key} is no size: {}", excerpt(&word)));
        }
        number
    }

    fn finish(mut self) -> Parsed<Report> {
        for (uuid, segment) in std::mem::take(&mut self.apart) {
            if let Some(&place) = self.by_uuid.get(&uuid) {
                let segments = &mut self.report.lvs[place].segments;
                if !segments.contains(&segment) {
                    segments.push(segment);
                }
            }
        }
        if 0 < self.left_out {
            self.problems.overall(format!(
                "more than {ROWS_MAX} rows of a kind: {} are left out",
                self.left_out
            ));
        }
        self.problems.with(self.report)
    }
}

/// A value as text, whatever its type; absent when empty.
fn text(row: &Map<String, Value>, key: &str) -> Option<String> {
    let text = match row.get(key)? {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => u8::from(*flag).to_string(),
        Value::Array(items) => items
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(","),
        Value::Null | Value::Object(_) => return None,
    };
    (!text.is_empty()).then_some(text)
}

fn list(row: &Map<String, Value>, key: &str) -> Vec<String> {
    let text = text(row, key).unwrap_or_default();
    text.split(',')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Whether a field says yes: with its own word, or with 1.
fn is_said(row: &Map<String, Value>, key: &str) -> bool {
    text(row, key).is_some_and(|word| !matches!(word.as_str(), "0" | "unknown" | "-1"))
}

fn bare(name: &str) -> &str {
    name.strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name)
}

fn segment_of(row: &Map<String, Value>) -> Option<Segment> {
    let kind = text(row, "segtype");
    let mut devices: Vec<String> = Vec::new();
    for key in ["devices", "metadata_devices"] {
        for part in text(row, key).unwrap_or_default().split("),") {
            // `/dev/sde1(32)`: a name, and the extent it begins at.
            let name = part.rsplit_once('(').map_or(part, |(name, _)| name);
            let name = if name.starts_with("[unknown") {
                name
            } else {
                bare(name)
            };
            if !name.is_empty() && !devices.iter().any(|known| known == name) {
                devices.push(name.to_owned());
            }
        }
    }
    (kind.is_some() || !devices.is_empty()).then_some(Segment {
        kind,
        devices,
        cache_mode: text(row, "cache_mode"),
    })
}

/// A size: `4194304B`, `4194304`, `4.00m`, `<3.64t`; small letters count in 1,024, large ones in 1,000.
#[must_use]
pub fn bytes(word: &str) -> Option<u64> {
    let word = word.trim().trim_start_matches(['<', '>']);
    let end = word
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(word.len());
    let (digits, unit) = word.split_at(end);
    let unit = unit.trim();
    if let ("" | "B" | "b", Ok(number)) = (unit, digits.parse::<u64>()) {
        return Some(number);
    }
    let number: f64 = digits.parse().ok().filter(|_| digits != ".")?;
    let each: f64 = match unit {
        "" | "B" | "b" => 1.0,
        "s" | "S" => 512.0,
        "k" | "KiB" => 1024.0,
        "m" | "MiB" => 1024_f64.powi(2),
        "g" | "GiB" => 1024_f64.powi(3),
        "t" | "TiB" => 1024_f64.powi(4),
        "p" | "PiB" => 1024_f64.powi(5),
        "e" | "EiB" => 1024_f64.powi(6),
        "K" | "KB" => 1e3,
        "M" | "MB" => 1e6,
        "G" | "GB" => 1e9,
        "T" | "TB" => 1e12,
        "P" | "PB" => 1e15,
        "E" | "EB" => 1e18,
        _ => return None,
    };
    Some((number * each).round() as u64)
}

fn excerpt_long(line: &str) -> String {
    let mut text: String = line.chars().filter(|c| !c.is_control()).collect();
    text.truncate(text.floor_char_boundary(200));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_come_with_and_without_units() {
        for (word, number) in [
            ("4194304B", 4_194_304),
            ("4194304", 4_194_304),
            ("0B", 0),
            ("4.00m", 4_194_304),
            ("<3.50t", 3_848_290_697_216),
            ("1.5G", 1_500_000_000),
            ("8s", 4_096),
            ("2 GiB", 2_147_483_648),
        ] {
            assert_eq!(bytes(word), Some(number), "{word}");
        }
        for odd in ["", "-1", "many", "1x", ".", "1.2.3g"] {
            assert_eq!(bytes(odd), None, "{odd:?}");
        }
    }

    /// `json_std`, rows beside their group, segments apart, and a warning before.
    const FULL: &str = r#"  WARNING: Couldn't find device with uuid x.
    {"report":[{"vg":[{"vg_name":"vg0","vg_uuid":"V","vg_size":"1.00g","vg_free":0,"pv_count":2,"vg_attr":"wz-p--"}],
     "pv":[{"pv_name":"/dev/sda","pv_uuid":"A","pv_size":1048576,"pv_major":8,"pv_minor":0},
           {"pv_name":"[unknown]","pv_uuid":"B","pv_attr":"a-m"}],
     "lv":[{"lv_name":"[r_rimage_0]","lv_uuid":"L0","lv_attr":"iwi-aor-p-","lv_layout":["linear"]},
           {"lv_name":"r","lv_uuid":"L1","lv_attr":"rwi-a-r-p-","lv_layout":["raid","raid1"],"sync_percent":50.5,"data_percent":null}],
     "pvseg":[{"pvseg_start":0}],
     "seg":[{"segtype":"linear","lv_uuid":"L0","devices":["[unknown](0)"]},
            {"segtype":"raid1","lv_uuid":"L1","devices":["r_rimage_0(0)","r_rimage_1(0)"]}]},
     {"vg":[],"pv":[{"pv_name":"/dev/sdz"}]}]}"#;

    #[test]
    fn a_full_report_is_joined_and_warnings_before_it_are_told() {
        let parsed = parse(FULL);
        let report = &parsed.value;
        assert_eq!((report.pvs.len(), report.vgs.len(), report.lvs.len()), (3, 1, 2));
        assert!(report.vgs[0].is_partial && report.pvs[1].is_missing);
        assert_eq!(report.pvs[0].vg_name.as_deref(), Some("vg0"));
        assert_eq!(report.pvs[2].vg_name, None);
        assert!(report.lvs[0].is_inner);
        assert_eq!(report.lvs[0].devices(), ["[unknown]"]);
        let raid = &report.lvs[1];
        assert_eq!(raid.full_name(), "vg0/r");
        assert_eq!(raid.devices(), ["r_rimage_0", "r_rimage_1"]);
        assert_eq!(
            (raid.percent("sync_percent"), raid.percent("data_percent")),
            (Some(50.5), None)
        );
        assert_eq!(
            (raid.letter(1), raid.letter(9), raid.letter(10)),
            (Some('r'), Some('p'), None)
        );
        assert_eq!(parsed.problems.len(), 1);
    }

    #[test]
    fn a_cut_report_and_odd_rows_are_problems() {
        for length in (0..FULL.len()).filter(|length| FULL.is_char_boundary(*length)) {
            assert!(!parse(&FULL[..length]).problems.is_empty(), "{length}");
        }
        let odd = r#"{"report":[{"lv":[5,{"lv_attr":"x"},{"lv_name":"a","vg_name":"v","lv_attr":"-wi","data_percent":"lots","lv_size":"big"}]}]}"#;
        assert_eq!(parse(odd).problems.len(), 5);
        assert_eq!(parse("").problems.len(), 1);
        assert_eq!(parse(r#"{"report":[]}"#).problems, []);
    }

    #[test]
    fn rows_of_one_volume_are_its_segments() {
        let text = r#"{"report":[{"lv":[
            {"lv_name":"a","vg_name":"v","lv_attr":"-wi-a-----","segtype":"linear","devices":"/dev/sda(0)"},
            {"lv_name":"a","vg_name":"v","lv_attr":"-wi-a-----","segtype":"striped","devices":"/dev/sdb(0),/dev/sdc(7)"}]}]}
            {"report":[{"vg":[{"vg_name":"v"}]}]}"#;
        let report = parse(text).value;
        assert_eq!(report.lvs.len(), 1);
        assert_eq!(report.lvs[0].devices(), ["/dev/sda", "/dev/sdb", "/dev/sdc"]);
        assert_eq!(report.vgs.len(), 1);
    }
}
