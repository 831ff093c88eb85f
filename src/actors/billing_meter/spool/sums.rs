//! Lines that grow in place: calls that only add up are added up where they are written, so that each costs the kernel a few bytes
//! and the meter nothing.
//!
//! Each figure has two places beside each other and is written to them in turn. So the last but one is whole while the last is being
//! written, whenever the process is killed; of the two, the larger counts. A place lies within one page of memory and one sector group
//! of the disk, and is never moved.

use std::collections::HashMap;
use std::io;

use chrono::{DateTime, Utc};

use super::record;
use super::segment_file::SegmentFile;
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

    /// Adds to a figure. The file grows by [`PAIR`] bytes for a figure that is not there yet.
    ///
    /// # Errors
    /// The disk refuses; then the figure is what it was.
    pub(super) fn add(
        &mut self,
        tenant: TenantId,
        meter: &MeterName,
        quantity: i64,
        at: DateTime<Utc>,
    ) -> io::Result<()> {
        let hour = at.timestamp().div_euclid(3600);
        let cells = self.cells.entry(tenant).or_default();
        let fits = |cell: &Cell| cell.hour == hour && &cell.meter == meter && cell.quantity <= MAX_QUANTITY - quantity;
        let found = cells.iter().position(fits);
        let (number, is_second, before) = match found.and_then(|at| cells.get(at)) {
            Some(cell) => (cell.number, cell.is_second, cell.quantity),
            None => (self.n_cells, false, 0),
        };
        let quantity = before + quantity;
        self.place.clear();
        record::encode_sum(&mut self.place, PLACE, (tenant, meter, quantity), at, number);
        debug_assert_eq!(self.place.len(), PLACE, "names and numbers are bounded");
        let first = number * PAIR;
        match found.and_then(|at| cells.get_mut(at)) {
            Some(cell) => {
                self.file.overwrite(&self.place, if is_second { first + PLACE as u64 } else { first })?;
                (cell.quantity, cell.is_second) = (quantity, !is_second);
            }
            None => {
                // The other place is blank: no line yet.
                self.place.resize(2 * PLACE - 1, b' ');
                self.place.push(b'\n');
                self.file.append(&self.place)?;
                cells.push(Cell { meter: meter.clone(), hour, quantity, number, is_second: true });
                self.n_cells += 1;
            }
        }
        Ok(())
    }

    /// Whether the next addition for this figure makes the file grow.
    pub(super) fn grows_for(&self, tenant: TenantId, meter: &MeterName) -> bool {
        !self.cells.get(&tenant).is_some_and(|cells| cells.iter().any(|cell| &cell.meter == meter))
    }
}
