//! What a block device is that lies on others: array, logical volume, encryption, multipath. Pure.
//!
//! Device mapper's UUIDs say who made a device: `LVM-<vg><lv>[-layer]`, `CRYPT-<format>-<uuid>-<name>`,
//! `mpath-<wwid>`, `part<n>-<parent>` (libdevmapper, cryptsetup, multipath-tools, kpartx). md names its arrays itself.

use super::ids::hex;

/// Digits of a UUID, without separators.
const UUID_DIGITS: usize = 32;

/// What made a device out of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    /// Software RAID.
    Md {
        /// The array's UUID as mdadm writes it; absent for arrays without superblock.
        uuid: Option<String>,
    },
    /// A logical volume or a part of one.
    Lvm(LogicalVolume),
    /// Encryption and its relatives.
    Crypt {
        /// UUID in the header; plain encryption has none.
        uuid: Option<String>,
        /// `luks1`, `luks2`, `plain`, `verity`, …
        format: String,
    },
    /// Several paths to one drive.
    Multipath {
        /// The drive's worldwide id, as multipath writes it.
        wwid: Option<String>,
    },
    /// A partition of another layer, as kpartx makes them.
    Partition {
        /// Its number.
        number: u64,
    },
    /// Any other device of device mapper.
    DeviceMapper,
    /// A disk with a cache before it.
    Bcache {
        /// UUID of the disk behind the cache.
        uuid: Option<String>,
    },
    /// Something else that lies on other devices.
    Other,
}

/// A logical volume, as its device shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogicalVolume {
    /// Name of the volume group.
    pub vg_name: String,
    /// Name of the volume, without the layer.
    pub lv_name: String,
    /// UUID of the volume group, with LVM's dashes.
    pub vg_uuid: Option<String>,
    /// UUID of the volume, with LVM's dashes.
    pub lv_uuid: Option<String>,
    /// `real`, `cow`, `tpool`, … where the device is only a part of the volume.
    pub layer: Option<String>,
    /// Whether it is a volume that only serves another, such as a mirror's leg or a thin pool's data.
    pub is_internal: bool,
}

impl Layer {
    /// The layer that device mapper made of this name and UUID.
    #[must_use]
    pub fn of_dm(name: Option<&str>, uuid: Option<&str>) -> Self {
        let Some(uuid) = uuid else {
            return Self::DeviceMapper;
        };
        if let Some(rest) = uuid.strip_prefix("LVM-") {
            return Self::Lvm(LogicalVolume::of_dm(name.unwrap_or(rest), rest));
        }
        if let Some(rest) = uuid.strip_prefix("CRYPT-") {
            return of_crypt(rest);
        }
        if let Some(wwid) = uuid.strip_prefix("mpath-") {
            return Self::Multipath {
                wwid: Some(wwid.to_owned()).filter(|wwid| !wwid.is_empty()),
            };
        }
        let partition = uuid.strip_prefix("part").and_then(|rest| rest.split_once('-'));
        match partition.and_then(|(number, _)| number.parse().ok()) {
            Some(number) => Self::Partition { number },
            None => Self::DeviceMapper,
        }
    }

    /// The array with this UUID as sysfs writes it, and this version of metadata.
    ///
    /// Superblocks 0.90 hold four numbers in the machine's own order. mdadm prints them as numbers, the kernel as
    /// bytes, so that on little-endian machines each is the other way round.
    #[must_use]
    pub fn of_md(sysfs_uuid: Option<&str>, metadata: Option<&str>, udev_uuid: Option<&str>) -> Self {
        let from_sysfs = || {
            let digits = plain_digits(sysfs_uuid?)?;
            let is_swapped =
                metadata.is_some_and(|version| version.starts_with("0.9")) && cfg!(target_endian = "little");
            Some(if is_swapped { swap_words(&digits) } else { digits })
        };
        let digits = udev_uuid.and_then(plain_digits).or_else(from_sysfs);
        Self::Md {
            uuid: digits.map(|digits| array_uuid(&digits)),
        }
    }
}

impl LogicalVolume {
    /// From device mapper's name and what follows `LVM-` in its UUID.
    fn of_dm(name: &str, uuid: &str) -> Self {
        let (ids, layer) = uuid
            .split_once('-')
            .map_or((uuid, None), |(ids, layer)| (ids, Some(layer)));
        let is_id = ids.len() == 2 * UUID_DIGITS && ids.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let (vg_uuid, lv_uuid) = match is_id {
            true => (
                Some(lvm_uuid(&ids[..UUID_DIGITS])),
                Some(lvm_uuid(&ids[UUID_DIGITS..])),
            ),
            false => (None, None),
        };
        Self {
            vg_uuid,
            lv_uuid,
            ..Self::of_name(name, layer)
        }
    }

    /// From device mapper's name alone: `vg-lv` or `vg-lv-layer`, where a dash in a name is written twice.
    pub(crate) fn of_name(name: &str, layer: Option<&str>) -> Self {
        let mut parts = split_dm_name(name).into_iter();
        let (vg_name, lv_name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        Self {
            is_internal: is_reserved(&lv_name),
            layer: layer.map(str::to_owned).or_else(|| parts.next()),
            vg_name,
            lv_name,
            ..Self::default()
        }
    }

    /// `vg/lv`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.vg_name, self.lv_name)
    }
}

/// Names that lvm(8) refuses for volumes of one's own, because its inner ones have them.
fn is_reserved(lv_name: &str) -> bool {
    const PARTS: [&str; 17] = [
        "_cdata", "_cmeta", "_corig", "_cpool", "_cvol", "_wcorig", "_mimage", "_mlog", "_rimage", "_rmeta",
        "_tdata", "_tmeta", "_pmspare", "_vdata", "_vorigin", "_iorig", "_imeta",
    ];
    lv_name.starts_with("pvmove") || PARTS.iter().any(|part| lv_name.contains(part))
}

fn split_dm_name(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = name.chars().peekable();
    while let Some(character) = characters.next() {
        let is_dash = character == '-';
        if is_dash && characters.next_if_eq(&'-').is_none() {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(character);
        }
    }
    parts
}

/// What follows `CRYPT-`: the format, and for those with a header its UUID without dashes.
fn of_crypt(rest: &str) -> Layer {
    let (format, rest) = rest.split_once('-').unwrap_or((rest, ""));
    let digits = rest
        .split('-')
        .next()
        .filter(|digits| digits.len() == UUID_DIGITS);
    Layer::Crypt {
        uuid: digits.and_then(hex).map(|digits| dashed(&digits)),
        format: format.to_ascii_lowercase(),
    }
}

/// `59cbdfa1-9b78-4dca-a1b3-1d504128da99`.
fn dashed(digits: &str) -> String {
    grouped(digits, &[8, 4, 4, 4, 12], "-")
}

/// As LVM writes its UUIDs: `njj0Yf-OlEy-Y394-fwfo-bjou-W3AG-K0ldda`.
#[must_use]
pub fn lvm_uuid(characters: &str) -> String {
    grouped(characters, &[6, 4, 4, 4, 4, 4, 6], "-")
}

/// The UUID of an array as mdadm writes it, from its 32 digits: `4eb7912d:d05a9a45:fcb34d9d:19344810`.
fn array_uuid(digits: &str) -> String {
    grouped(digits, &[8, 8, 8, 8], ":")
}

/// The UUID of an array in mdadm's form, from any; `None` if it is none, or all zeros.
#[must_use]
pub fn md_uuid(text: &str) -> Option<String> {
    plain_digits(text).map(|digits| array_uuid(&digits))
}

/// Groups ASCII text; what is not of the expected length stays as it is.
fn grouped(text: &str, lengths: &[usize], separator: &str) -> String {
    if text.len() != lengths.iter().sum::<usize>() || !text.is_ascii() {
        return text.to_owned();
    }
    let mut rest = text;
    let mut groups = Vec::with_capacity(lengths.len());
    for length in lengths {
        let (group, after) = rest.split_at(*length);
        groups.push(group);
        rest = after;
    }
    groups.join(separator)
}

fn plain_digits(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| !matches!(c, ':' | '-')).collect();
    let is_uuid = digits.len() == UUID_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_uuid && digits.bytes().any(|byte| byte != b'0')).then(|| digits.to_ascii_lowercase())
}

/// Turns each group of eight digits round, byte by byte.
fn swap_words(digits: &str) -> String {
    let word = |at: usize| {
        (0..4)
            .rev()
            .map(move |byte| &digits[at + 2 * byte..at + 2 * byte + 2])
    };
    (0..4).flat_map(|index| word(8 * index)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lvm(name: &str, uuid: &str) -> LogicalVolume {
        match Layer::of_dm(Some(name), Some(uuid)) {
            Layer::Lvm(volume) => volume,
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn a_logical_volumes_uuid_and_names_are_read_from_its_device() {
        let ids = "LVM-QEDRTfiAC2CacWqa5OiqLL0csqfEfyz5z0eBjk5MP5pusAB6BJWMgQBoacWvc0q9";
        let snap = lvm("vg0-linear--snap", ids);
        assert_eq!(snap.full_name(), "vg0/linear-snap");
        assert_eq!(
            snap.vg_uuid.as_deref(),
            Some("QEDRTf-iAC2-CacW-qa5O-iqLL-0csq-fEfyz5")
        );
        assert_eq!(
            snap.lv_uuid.as_deref(),
            Some("z0eBjk-5MP5-pusA-B6BJ-WMgQ-Boac-Wvc0q9")
        );
        assert!(!snap.is_internal && snap.layer.is_none());
        let cow = lvm("vg0-linear--snap-cow", &format!("{ids}-cow"));
        assert_eq!((cow.lv_uuid, cow.layer.as_deref()), (snap.lv_uuid, Some("cow")));
        for name in [
            "vg0-mirrored_rimage_0",
            "vg0-pool_tdata",
            "a--b-c--d_corig-real",
            "vg-pvmove0",
        ] {
            assert!(lvm(name, ids).is_internal, "{name}");
        }
    }

    #[test]
    fn makers_of_mappings_are_told_apart() {
        let crypt = |uuid: Option<&str>, format: &str| Layer::Crypt {
            uuid: uuid.map(str::to_owned),
            format: format.to_owned(),
        };
        let luks = "CRYPT-LUKS2-59cbdfa19b784dcaa1b31d504128da99-secret";
        assert_eq!(
            Layer::of_dm(Some("secret"), Some(luks)),
            crypt(Some("59cbdfa1-9b78-4dca-a1b3-1d504128da99"), "luks2")
        );
        assert_eq!(Layer::of_dm(None, Some("CRYPT-PLAIN-swap")), crypt(None, "plain"));
        assert_eq!(Layer::of_dm(None, Some("CRYPT-")), crypt(None, ""));
        let mpath = Layer::of_dm(None, Some("mpath-3600508b400105e210000900000490000"));
        assert_eq!(
            mpath,
            Layer::Multipath {
                wwid: Some("3600508b400105e210000900000490000".to_owned())
            }
        );
        assert_eq!(
            Layer::of_dm(None, Some("part2-mpath-36")),
            Layer::Partition { number: 2 }
        );
        for other in [None, Some("DMRAID-isw_x"), Some("partx-y"), Some("")] {
            assert_eq!(Layer::of_dm(Some("x"), other), Layer::DeviceMapper, "{other:?}");
        }
    }

    #[test]
    fn an_arrays_uuid_is_mdadms_whatever_wrote_it() {
        let of = |sysfs, metadata, udev| match Layer::of_md(sysfs, metadata, udev) {
            Layer::Md { uuid } => uuid,
            other => panic!("{other:?}"),
        };
        let expected = Some("4eb7912d:d05a9a45:fcb34d9d:19344810".to_owned());
        assert_eq!(
            of(Some("4eb7912d-d05a-9a45-fcb3-4d9d19344810"), Some("1.2"), None),
            expected
        );
        assert_eq!(
            of(Some("2d91b74e-459a-5ad0-9d4d-b3fc10483419"), Some("0.90"), None),
            expected
        );
        assert_eq!(of(None, None, expected.as_deref()), expected);
        assert_eq!(
            of(
                Some("00000000-0000-0000-0000-000000000000"),
                Some("external:imsm"),
                None
            ),
            None
        );
        assert_eq!(of(Some("none"), None, Some("")), None);
    }
}
