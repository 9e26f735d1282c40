//! A response written anew, partition by partition: each waits for a decision, and its records for whoever makes them.
//!
//! ```text
//! advance -> Copied     call again
//!         -> Partition  keep, blank, or replace
//!         -> Records    its new records are appended to the output; then written
//!         -> End
//! ```
//!
//! - RESPONSE-1: brokers' addresses are mapped whatever becomes of the records (`ADDR-1`), in every version that has
//!   them.
//! - RESPONSE-2: nothing is written before something is changed; where nothing is, the frame is to go on as it is.
//! - RESPONSE-3: no partition is left out: a client that asked for one discards a full response without it (KIP-227).
//! - RESPONSE-4: a step copies at most as much as it is told, and nothing twice.
//! - RESPONSE-5: on an error the output is what it was (`WIRE-5`).

use super::{PartitionPlace, ResponsePartitions};
use crate::protocol::endpoints::Rewrite;
use crate::protocol::error::ProtocolError;
use crate::protocol::frame::LENGTH_PREFIX_BYTES;
use crate::protocol::splice::Emission;
use crate::protocol::writer::{LengthForm, LengthSlot};

/// How far a response is written anew; see the module. One call after the other gets the same layout, frame and output.
#[derive(Debug, Default)]
pub struct RecordsRewriting {
    /// `None` while nothing is changed.
    emission: Option<Emission>,
    next: Next,
    /// How far the frame is to be copied before that.
    target: usize,
    /// The partition that is decided on or written.
    partition: usize,
    written: Option<WrittenPartition>,
}

/// Where a [`RecordsRewriting`] stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordsStep {
    /// There is more to do.
    Copied,
    /// The partition of this number waits for a decision.
    Partition(usize),
    /// What is appended now are the records of the partition of this number.
    Records(usize),
    /// All is done. Where nothing is `changed`, nothing is written.
    End { changed: bool },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    #[default]
    Partition,
    /// The length of records that are replaced.
    Length,
    /// The length of records that go, and the code that comes instead of the broker's.
    Blank(Option<i16>),
    Records,
    Addresses,
    End,
}

/// The partition whose records are being written.
#[derive(Debug)]
struct WrittenPartition {
    /// Where in the output its error code is.
    error_code_at: usize,
    records: LengthSlot,
}

impl RecordsRewriting {
    /// Goes on to the next decision, copying at most `bytes_max`. `addresses` says what clients are told of a broker.
    pub fn advance<'m>(
        &mut self,
        layout: &ResponsePartitions,
        frame: &[u8],
        out: &mut Vec<u8>,
        bytes_max: usize,
        addresses: &mut dyn FnMut(i32) -> Rewrite<'m>,
    ) -> Result<RecordsStep, ProtocolError> {
        let advanced = self.advance_or_leave_rest(layout, frame, out, bytes_max, addresses);
        if advanced.is_err() {
            self.take_back(out);
        }
        advanced
    }

    fn advance_or_leave_rest<'m>(
        &mut self,
        layout: &ResponsePartitions,
        frame: &[u8],
        out: &mut Vec<u8>,
        bytes_max: usize,
        addresses: &mut dyn FnMut(i32) -> Rewrite<'m>,
    ) -> Result<RecordsStep, ProtocolError> {
        if frame.len() != layout.frame_bytes {
            return Err(ProtocolError::LayoutMismatch);
        }
        if let (Next::Partition, None) = (self.next, &self.emission) {
            if self.partition < layout.len() {
                return Ok(RecordsStep::Partition(self.partition));
            }
            if layout.endpoints.is_empty() {
                return Ok(RecordsStep::End { changed: false });
            }
        }
        let emission = self.emission.get_or_insert_with(|| {
            // The frame is in hand, so that its length is no mere announcement.
            let growth = layout.endpoints.growth_max();
            out.reserve(
                frame
                    .len()
                    .saturating_add(growth)
                    .saturating_add(LENGTH_PREFIX_BYTES),
            );
            Emission::begin(out)
        });
        emission.copy_towards(frame, out, self.target, bytes_max)?;
        if emission.copied() < self.target {
            return Ok(RecordsStep::Copied);
        }
        match self.next {
            Next::Partition if self.partition < layout.len() => {
                return Ok(RecordsStep::Partition(self.partition));
            }
            Next::Partition => {
                let addresses_at = layout.endpoints.start().unwrap_or(frame.len());
                self.go_on(Next::Addresses, addresses_at);
            }
            Next::Length => {
                let records = layout.records(frame, self.partition);
                self.begin_records(layout, records.len(), out)?;
                self.next = Next::Records;
                return Ok(RecordsStep::Records(self.partition));
            }
            Next::Blank(code) => {
                self.begin_records(layout, 0, out)?;
                if let Some(code) = code {
                    self.set_error_code(out, code)?;
                }
                self.end_records(layout, out)?;
            }
            Next::Records => return Ok(RecordsStep::Records(self.partition)),
            Next::Addresses => {
                layout
                    .endpoints
                    .rewrite(&mut emission.splice(frame, out), addresses)?;
                self.go_on(Next::End, frame.len());
            }
            Next::End => {
                emission.fill_length(out, 0)?;
                return Ok(RecordsStep::End { changed: true });
            }
        }
        Ok(RecordsStep::Copied)
    }

    /// The partition goes on as it came.
    pub fn keep(&mut self, layout: &ResponsePartitions) -> Result<(), ProtocolError> {
        let end = partition_of(layout, self.partition)?.end;
        self.partition = self.partition.saturating_add(1);
        self.go_on(Next::Partition, end);
        Ok(())
    }

    /// The partition gets no records (an empty field, not null, which older clients do not take) and this error code;
    /// `None` leaves it the broker's. Watermarks stay.
    pub fn blank(
        &mut self,
        layout: &ResponsePartitions,
        error_code: Option<i16>,
    ) -> Result<(), ProtocolError> {
        let target = partition_of(layout, self.partition)?.records_length.start;
        self.go_on(Next::Blank(error_code), target);
        Ok(())
    }

    /// The partition gets other records: they are to be appended when [`RecordsStep::Records`] says so.
    pub fn replace(&mut self, layout: &ResponsePartitions) -> Result<(), ProtocolError> {
        let target = partition_of(layout, self.partition)?.records_length.start;
        self.go_on(Next::Length, target);
        Ok(())
    }

    /// Between two pieces of the records that are appended: see [`LengthSlot::widen`].
    pub fn widen(&mut self, out: &mut Vec<u8>) -> Result<usize, ProtocolError> {
        let written = self.written.as_mut();
        written.map_or(Ok(0), |written| written.records.widen(out))
    }

    /// Whether any records of the partition are appended.
    pub fn has_records(&self, out: &[u8]) -> bool {
        let start = self
            .written
            .as_ref()
            .map(|written| written.records.content_start());
        start.is_some_and(|start| out.len() > start)
    }

    /// The partition whose records are being written gets this error code.
    pub fn set_error_code(&self, out: &mut [u8], error_code: i16) -> Result<(), ProtocolError> {
        let written = self.written.as_ref().ok_or(ProtocolError::LayoutMismatch)?;
        let field = out
            .get_mut(written.error_code_at..)
            .and_then(|rest| rest.first_chunk_mut());
        *field.ok_or(ProtocolError::LayoutMismatch)? = error_code.to_be_bytes();
        Ok(())
    }

    /// The records of the partition are what was appended; none is an empty field, not null.
    pub fn end_records(
        &mut self,
        layout: &ResponsePartitions,
        out: &mut Vec<u8>,
    ) -> Result<(), ProtocolError> {
        let partition = partition_of(layout, self.partition)?;
        let written = self.written.take().ok_or(ProtocolError::LayoutMismatch)?;
        written.records.fill_with_content_len(out)?;
        if let Some(emission) = &mut self.emission {
            let length_end = partition.records_length.end;
            let records_end = partition
                .records
                .as_ref()
                .map_or(length_end, |records| records.end);
            emission.skip_to(records_end)?;
        }
        self.keep(layout)
    }

    /// Bytes of the frame that are to be copied before the next decision: as many fit into the output, or it grows.
    pub fn copies_next(&self) -> usize {
        self.target.saturating_sub(self.copied().unwrap_or(self.target))
    }

    /// How far the frame is copied or left out; `None` while nothing is written.
    pub fn copied(&self) -> Option<usize> {
        self.emission.as_ref().map(Emission::copied)
    }

    /// Where in the output the response begins, its length included; `None` while nothing is written.
    pub fn start(&self) -> Option<usize> {
        self.emission.as_ref().map(Emission::start)
    }

    /// What was written was moved forward in its buffer by `bytes`.
    pub fn move_forward(&mut self, bytes: usize) {
        if let Some(emission) = &mut self.emission {
            emission.move_forward(bytes);
        }
        if let Some(written) = &mut self.written {
            written.error_code_at = written.error_code_at.saturating_sub(bytes);
            written.records.move_forward(bytes);
        }
    }

    /// Takes back what was written, to begin once more.
    pub fn take_back(&mut self, out: &mut Vec<u8>) {
        if let Some(emission) = &self.emission {
            emission.take_back_all(out);
        }
        *self = Self::default();
    }

    /// Everything in front of the length of the partition's records is copied.
    fn begin_records(
        &mut self,
        layout: &ResponsePartitions,
        bytes_expected: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), ProtocolError> {
        let partition = partition_of(layout, self.partition)?;
        let since_code = partition
            .records_length
            .start
            .checked_sub(partition.error_code_at);
        let error_code_at = since_code.and_then(|since| out.len().checked_sub(since));
        let form = LengthForm::of(layout.flexible);
        self.written = Some(WrittenPartition {
            error_code_at: error_code_at.ok_or(ProtocolError::LayoutMismatch)?,
            records: LengthSlot::reserve(out, form, bytes_expected)?,
        });
        Ok(())
    }

    fn go_on(&mut self, next: Next, target: usize) {
        self.next = next;
        self.target = target;
    }
}

fn partition_of(layout: &ResponsePartitions, position: usize) -> Result<&PartitionPlace, ProtocolError> {
    layout.get(position).ok_or(ProtocolError::LayoutMismatch)
}
