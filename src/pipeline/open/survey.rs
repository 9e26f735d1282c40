//! What is to be done with a record: its form, whether the rule accepts it, and its key.

use std::rc::Rc;

use super::Context;
use crate::audit::KekName;
use crate::envelope::{Form, FormKind, Marker, OpenError, form_of};
use crate::keys::{ExecutorKeys, KeyLookup, OpenedDek};
use crate::pipeline::batch_keys::BatchKeys;
use crate::pipeline::refusal::FetchRefusal;
use crate::record_batch::{BatchHeader, RecordLayout};
use crate::rules::{Forms, OnUnreadable};

/// What is known of the keys of one batch.
pub(super) struct Survey {
    /// The key of the last record: mostly that of all others as well.
    key: Option<Rc<OpenedDek>>,
    admitted: BatchKeys,
    /// Of a tombstone that has no seal.
    opened_key: Vec<u8>,
}

/// What is to be done with one record.
pub(super) enum Course {
    /// Open it with [`Survey::key`].
    Open(Marker),
    /// Its form is accepted as it is.
    Copy,
    /// It is accepted without its headers (OPEN-BATCH-5).
    Strip {
        /// Its key is a sealed one, and [`Survey::opened_key`] is what it was.
        key_opened: bool,
    },
    /// Its key is on the way.
    Wait,
    /// It does not open; the rule says what to do.
    Unreadable(FetchRefusal),
}

impl Survey {
    /// Of a batch with this header.
    pub(super) fn begin(header: &BatchHeader) -> Self {
        Self {
            key: None,
            admitted: BatchKeys::new(header.record_count),
            opened_key: Vec::new(),
        }
    }

    /// The key of the last record that is to be opened.
    pub(super) fn key(&self) -> Option<&Rc<OpenedDek>> {
        self.key.as_ref()
    }

    /// What the last sealed key of a tombstone was that has no seal.
    pub(super) fn opened_key(&self) -> &[u8] {
        &self.opened_key
    }

    /// Bytes of memory that it owns.
    pub(super) fn bytes_held(&self) -> usize {
        self.admitted
            .bytes_held()
            .saturating_add(self.opened_key.capacity())
    }

    /// What is to be done with a record.
    pub(super) fn course(
        &mut self,
        records: &[u8],
        record: &RecordLayout,
        context: &Context<'_>,
        keys: &mut ExecutorKeys,
    ) -> Result<Course, FetchRefusal> {
        match self.known(records, record, context, keys) {
            Err(refusal)
                if refusal.is_unreadable_record() && context.rule.on_unreadable != OnUnreadable::Refuse =>
            {
                Ok(Course::Unreadable(refusal))
            }
            known => known,
        }
    }

    /// The form of a record and, where it is sealed, its key: it is then [`Self::key`].
    fn known(
        &mut self,
        records: &[u8],
        record: &RecordLayout,
        context: &Context<'_>,
        keys: &mut ExecutorKeys,
    ) -> Result<Course, FetchRefusal> {
        let marker = match form_of(records, record)? {
            Form::RecordSeal(marker) => marker,
            // Its kind alone: whoever takes it whole has the marker copied as well.
            form => return self.unsealed(form.kind(), records, record, context),
        };
        // ENV-77. Of most records there is nothing to be said.
        let seal = marker.seal();
        if seal.parts.key_sealed || !context.rule.keys.accept_clear() {
            let key = record.key.map(|key| key.of(records));
            let sealed_in = seal.parts.key_sealed.then_some(seal.domain_hint);
            context
                .topic
                .keys
                .check_stored(context.rule.keys, key, sealed_in)?;
        }
        // ENV-50. Before its key is asked for; the tag binds what it says of itself.
        if marker.seal().parts.headers < context.rule.open_headers {
            return Err(FetchRefusal::WeakHeaders);
        }
        let wrapped = marker.wrapped_dek(records);
        if self.key.as_ref().is_some_and(|key| **key.wrapped() == *wrapped) {
            return Ok(Course::Open(marker));
        }
        let kms = context
            .topic
            .kms_of(wrapped)
            .ok_or_else(|| FetchRefusal::KekNotNamed(KekName::in_record(wrapped)))?;
        if !context.opens {
            let hint = marker.seal().domain_hint;
            let mut domains = context.topic.keys.domains.iter();
            let is_known = domains.any(|accepted| accepted.domain.hint() == hint);
            return match is_known {
                true => Ok(Course::Copy),
                false => Err(FetchRefusal::Open(OpenError::UnknownDomain)),
            };
        }
        if !self.admitted.admit(wrapped) {
            return Err(FetchRefusal::TooManyKeys);
        }
        match keys.opening(kms, wrapped, context.demand, context.begun, context.now) {
            KeyLookup::Ready(found) => {
                self.key = Some(found);
                Ok(Course::Open(marker))
            }
            KeyLookup::Failed(failure) if !failure.is_outage() => {
                Err(FetchRefusal::Key(failure, KekName::in_record(wrapped)))
            }
            KeyLookup::Waiting | KeyLookup::Failed(_) => Ok(Course::Wait),
        }
    }
}

impl Survey {
    /// What is to be done with a record that has no seal.
    fn unsealed(
        &mut self,
        form: FormKind,
        records: &[u8],
        record: &RecordLayout,
        context: &Context<'_>,
    ) -> Result<Course, FetchRefusal> {
        if !context.rule.accept.contains(accepted_as(form)) {
            return Err(FetchRefusal::Form(form));
        }
        let key = record.key.map(|key| key.of(records));
        if let (FormKind::Tombstone, Some(key)) = (form, key) {
            self.opened_key.clear();
            if context.topic.keys.open_alone(key, &mut self.opened_key)? {
                return Ok(Course::Strip { key_opened: true });
            }
        }
        if key.is_some() && !context.rule.keys.accept_clear() {
            return Err(OpenError::ClearKey.into());
        }
        let has_headers = form == FormKind::Tombstone && record.header_count > 0;
        Ok(
            match has_headers && !context.rule.accept.contains(Forms::PLAINTEXT) {
                true => Course::Strip { key_opened: false },
                false => Course::Copy,
            },
        )
    }
}

/// The form as a rule's `accept` names it.
fn accepted_as(form: FormKind) -> Forms {
    match form {
        FormKind::Sealwire => Forms::SEALWIRE,
        FormKind::Kroxylicious => Forms::KROXYLICIOUS,
        FormKind::Tombstone => Forms::TOMBSTONE,
        FormKind::Plaintext => Forms::PLAINTEXT,
    }
}
