//! record_batch
