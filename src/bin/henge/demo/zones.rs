//! The time zones of the world: a small real data set.

/// From the tz database, which is in the public domain.
const TABLE: &str = include_str!("../../../../data/zone1970.tab");

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Zone {
    pub(super) name: &'static str,
    countries: &'static str,
    place: &'static str,
    comment: &'static str,
}

impl Zone {
    /// What is stored under the name.
    pub(super) fn description(&self) -> String {
        let Self { countries, place, comment, .. } = self;
        format!("{countries} {place} {comment}").trim_end().to_owned()
    }
}

/// All rows.
pub(super) fn all() -> Vec<Zone> {
    TABLE.lines().filter(|line| !line.starts_with('#')).filter_map(row).collect()
}

fn row(line: &'static str) -> Option<Zone> {
    let mut columns = line.split('\t');
    let (countries, place, name) = (columns.next()?, columns.next()?, columns.next()?);
    Some(Zone { name, countries, place, comment: columns.next().unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_that_ships_is_read_whole() {
        let zones = all();
        assert_eq!(zones.len(), TABLE.lines().filter(|line| !line.starts_with('#')).count());
        let peru = zones.iter().find(|zone| zone.name == "America/Lima").map(Zone::description);
        assert_eq!(peru.as_deref(), Some("PE -1203-07703"));
    }
}
