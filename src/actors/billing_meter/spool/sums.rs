//! Lines that grow in place: calls that only add up are added up where they are written, so that each costs the kernel a few bytes
//! and the meter nothing.
//!
//! Each figure has two places beside each other and is written to them in turn. So the last but one is whole while the last is being
//! written, whenever the process is killed; of the two, the larger counts. A place lies within one page of memory and one sector group
//! of the disk, and is never moved.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::segment_file::SegmentFile;
use super::{SpoolError, record};
use crate::domain::ids::TenantId;
use crate::domain::meter::MeterName;
use crate::domain::usage::MAX_QUANTITY;

/// Bytes of one place, a divisor of a page.
const PLACE: usize = 256;
/// Bytes of the two places of a figure.
pub(super) const PAIR: u64 = 2 * PLACE as u64;

/// One figure: what was used of a meter by a tenant in an hour, since the segment was opened.
#[derive(Debug)]
struct Cell {
    meter: MeterName,
    /// Hours since 1970.
    hour: i64,
    quantity: i64,
    /// Number of the figure in its segment, by which its two places are known for one.
    number: u64,
    /// Which of its places is written next.
    is_second: bool,
    /// What its lines begin with.
    prefix: Box<[u8]>,
}

/// A segment of figures.
#[derive(Debug)]
pub(super) struct Sums {
    pub(super) file: SegmentFile,
    cells: HashMap<TenantId, Vec<Cell>>,
    n_cells: u64,
    /// The place that is being written.
    place: Vec<u8>,
}

impl Sums {
    pub(super) fn new(file: SegmentFile) -> Self {
        Self { file, cells: HashMap::new(), n_cells: 0, place: Vec::with_capacity(PLACE) }
    }

    /// Adds to a figure. For one that is not there yet the file grows by [`PAIR`] bytes, if `make_room` lets it.
    ///
    /// # Errors
    /// There is no room, or the disk refuses; then the figure is what it was.
    pub(super) fn add(
        &mut self,
        (tenant, meter, quantity): (TenantId, &MeterName, i64),
        at: DateTime<Utc>,
        make_room: impl FnOnce() -> Result<(), SpoolError>,
    ) -> Result<(), SpoolError> {
        let Self { file, cells, n_cells, place } = self;
        let hour = at.timestamp().div_euclid(3600);
        let cells = cells.entry(tenant).or_default();
        let fits =
            |cell: &&mut Cell| cell.hour == hour && &cell.meter == meter && cell.quantity <= MAX_QUANTITY - quantity;
        place.clear();
        if let Some(cell) = cells.iter_mut().find(fits) {
            let quantity = cell.quantity + quantity;
            record::encode_sum(place, PLACE, &cell.prefix, quantity, at);
            let first = cell.number * PAIR;
            file.overwrite(place, if cell.is_second { first + PLACE as u64 } else { first })?;
            (cell.quantity, cell.is_second) = (quantity, !cell.is_second);
        } else {
            make_room()?;
            let (number, prefix) = (*n_cells, record::sum_prefix(tenant, meter, *n_cells));
            record::encode_sum(place, PLACE, &prefix, quantity, at);
            // The other place is blank: no line yet.
            place.resize(2 * PLACE - 1, b' ');
            place.push(b'\n');
            file.append(place)?;
            cells.push(Cell { meter: meter.clone(), hour, quantity, number, is_second: true, prefix });
            *n_cells += 1;
        }
        Ok(())
    }
}
