//! Requests of clients of which brokers learn no name: what they are about has to be the client's own.
//!
//! - OWN-NAMES-1: where brokers see the proxy alone, nothing goes to a broker that names a topic, a group or a
//!   transactional id which is not its client's, nor what is for administrators; the client is told so in the request's
//!   own form, and the connection stays. What cannot be read, or not answered, ends it.
//! - OWN-NAMES-3: of a list the items that are the client's go on without those that are not, of which the answer tells
//!   as a broker's would.
//! - OWN-NAMES-2: of a topic that is not its own a client hears nothing but that it may not use it.
//!
//! Topics are a client's own by `open_for`, `seal_for` and `raw_for` of their rule, the rest by `groups_for`. Records
//! themselves are judged by partition, as they are everywhere.

use std::ops::ControlFlow;
use std::time::Duration;

use super::in_flight::Answer;
use super::refused_items::{Foreign, REFUSED_MAX, RefusedItems};
use super::requests::{ApartRequest, Treatment};
use super::run::{NextFrame, malformed};
use super::{Session, Step, Wait};
use crate::metrics::{CloseReason, RequestRefusal, TimeKind};
use crate::pipeline::Pipeline;
use crate::pipeline::work::{PARTITION_WORK, RULE_WORK, Work};
use crate::protocol::api_key::METADATA;
use crate::protocol::frame::{LENGTH_PREFIX_BYTES, RequestHead};
use crate::protocol::metadata_topics::{Asked, Told};
use crate::protocol::names::{self, Name};
use crate::protocol::policy::{About, ApiPolicy};
use crate::protocol::request_refusal::{self, Part, Whose, Why};

/// How far a frame is judged, of which the look was broken off.
#[derive(Default)]
pub(super) struct OwnNames {
    /// So many names of the request were judged.
    known: usize,
    /// Of a Metadata request: which of its topics are not asked for.
    refused: Vec<usize>,
    /// Of another: which items of its list are not the client's, and what the first of them is called.
    items: RefusedItems,
    /// The Metadata response.
    told: Option<Box<Told>>,
}

impl OwnNames {
    /// Whether a response is half looked through.
    pub(super) fn is_telling(&self) -> bool {
        self.told.is_some()
    }
}

impl Session {
    /// Whether a request of the client is looked at to its end.
    pub(super) fn judges_all_of(&self, api: &ApiPolicy, frame_bytes: usize) -> bool {
        matches!(api.about, About::Names | About::Metadata)
            && frame_bytes <= NAMES_BYTES_MAX
            && self.listener.groups_of(&self.client).is_some()
    }

    /// What is to be done with a request, the first `whole` bytes of `input`, that is not simply its client's to send;
    /// `None` where it is.
    pub(super) fn judge(
        &mut self,
        pipeline: &mut Pipeline,
        api: &ApiPolicy,
        head: RequestHead,
        input: &[u8],
        whole: usize,
    ) -> Result<Option<NextFrame<ApartRequest>>, CloseReason> {
        if self.listener.groups_of(&self.client).is_none() {
            return Ok(None);
        }
        let wanted = match api.about {
            About::Nothing => return Ok(None),
            About::Cluster => {
                let treatment = Treatment::Refuse(Why::Foreign(Whose::Cluster), None);
                return self.refused(head, whole, treatment).map(Some);
            }
            About::FirstNames => whole.min(request_refusal::FRAME_BYTES_MAX),
            About::Names | About::Metadata if whole > NAMES_BYTES_MAX => return Err(CloseReason::DeniedApi),
            About::Names | About::Metadata => whole,
        };
        let Some(frame) = input.get(LENGTH_PREFIX_BYTES..wanted) else {
            return Ok(Some(NextFrame::Step(Step::More)));
        };
        match api.about {
            About::FirstNames => pipeline.work.charge(PARTITION_WORK),
            _ if self.names.known == 0 => pipeline.work.charge_parsed(frame.len()),
            _ => {}
        }
        if api.about == About::Metadata {
            return self.judge_metadata(pipeline, api, head, frame);
        }
        let missing = whole.saturating_sub(wanted);
        match self.judge_names(pipeline, api, head, frame, missing)? {
            ControlFlow::Continue(None) => {
                let refused = std::mem::take(&mut self.names.items);
                match refused.is_empty() {
                    true => Ok(None),
                    false => Ok(Some(self.in_turn(head, whole, Treatment::OwnItems(refused)))),
                }
            }
            ControlFlow::Continue(Some((whose, name))) => {
                self.names.items = RefusedItems::default();
                let treatment = Treatment::Refuse(Why::Foreign(whose), name.map(Box::from));
                self.refused(head, whole, treatment).map(Some)
            }
            ControlFlow::Break(step) => Ok(Some(NextFrame::Step(step))),
        }
    }

    /// The first name that is not the client's in a request which is nothing without it; those that others can go on
    /// without are noted.
    fn judge_names<'f>(
        &mut self,
        pipeline: &mut Pipeline,
        api: &ApiPolicy,
        head: RequestHead,
        frame: &'f [u8],
        missing: usize,
    ) -> Result<ControlFlow<Step, Option<Foreign<'f>>>, CloseReason> {
        let known = std::mem::take(&mut self.names.known);
        let mut items = std::mem::take(&mut self.names.items);
        let (mut count, mut found) = (0_usize, ControlFlow::Continue(None));
        let mut failed = None;
        let walked = names::visit(api, head.api_version, frame, missing, &mut |name, item| {
            if count >= known {
                // One at least in each turn.
                if count > known && pipeline.work.is_spent() {
                    found = ControlFlow::Break(Step::Yield);
                    return false;
                }
                match self.foreign(pipeline, name) {
                    Ok(None) => {}
                    Ok(Some(foreign)) if item.is_some_and(|item| items.note(item, foreign)) => {}
                    Ok(foreign) => found = ControlFlow::Continue(foreign),
                    Err(reason) => failed = Some(reason),
                }
                if failed.is_some() || found != ControlFlow::Continue(None) {
                    return false;
                }
            }
            count = count.saturating_add(1);
            true
        });
        walked.map_err(malformed)?;
        if let Some(reason) = failed {
            return Err(reason);
        }
        if found == ControlFlow::Break(Step::Yield) {
            self.names.known = count;
        }
        self.names.items = items;
        Ok(found)
    }

    /// Whose this is, if it is not the client's.
    fn foreign<'f>(
        &self,
        pipeline: &mut Pipeline,
        name: Name<'f>,
    ) -> Result<Option<Foreign<'f>>, CloseReason> {
        let asking = self.listener.asking(&self.client);
        let (rules, work) = pipeline.rules(self.listener.cluster)?;
        let group = |name: &str, work: &mut Work| {
            let groups = self.listener.groups_of(&self.client);
            groups.is_none_or(|groups| {
                work.charge(groups.count().saturating_mul(RULE_WORK));
                groups.permit(name, asking)
            })
        };
        let (is_own, whose, shown) = match name {
            Name::Topic(name) => (rules.users(name, work).see(asking), Whose::Topic, Some(name)),
            Name::StoredTopic(name) => (rules.users(name, work).store(asking), Whose::Topic, Some(name)),
            Name::Group(name) => (group(name, work), Whose::Group, Some(name)),
            Name::TransactionalId(name) => (group(name, work), Whose::TransactionalId, Some(name)),
            Name::Producer => (rules.is_stored_by(asking, work), Whose::Cluster, None),
            Name::Cluster => (false, Whose::Cluster, None),
        };
        Ok((!is_own).then_some((whose, shown)))
    }

    pub(super) fn refused(
        &self,
        head: RequestHead,
        whole: usize,
        treatment: Treatment,
    ) -> Result<NextFrame<ApartRequest>, CloseReason> {
        if whole.saturating_sub(LENGTH_PREFIX_BYTES) > request_refusal::FRAME_BYTES_MAX {
            return Err(CloseReason::DeniedApi);
        }
        Ok(self.in_turn(head, whole, treatment))
    }

    /// One such answer at a time waits for its turn: it is memory of ours.
    fn in_turn(&self, head: RequestHead, whole: usize, treatment: Treatment) -> NextFrame<ApartRequest> {
        match self.in_flight.is_empty() {
            true => NextFrame::Apart(ApartRequest::Frame(head, whole, treatment)),
            false => NextFrame::Step(Step::Blocked(Wait::Room)),
        }
    }

    /// Sends the rest of a list (OWN-NAMES-3).
    pub(super) fn ask_for_own_items(
        &mut self,
        pipeline: &mut Pipeline,
        head: RequestHead,
        frame: &[u8],
        refused: &RefusedItems,
        out: &mut Vec<u8>,
    ) -> Result<Step, CloseReason> {
        let api = self
            .listener
            .policy
            .api(head.api_key)
            .ok_or(CloseReason::DeniedApi)?;
        pipeline.work.charge_parsed(frame.len());
        let part = request_refusal::part(head, api, frame, refused.items(), out).map_err(malformed)?;
        if let Some(refusal) = refused.first() {
            pipeline.refuse_request(self.listener.cluster, &self.client, api, refusal);
        }
        let (bytes, answer) = match part {
            Part::Nothing(answer) => (answer.len(), Answer::Local(answer)),
            Part::Rest(insertion) => (insertion.bytes(), Answer::Inserted(insertion)),
        };
        self.note_request(pipeline, head, bytes.saturating_add(frame.len()), answer);
        Ok(Step::Wrote(frame.len().saturating_add(LENGTH_PREFIX_BYTES)))
    }

    /// Writes the beginning of the answer, of which `frame` is at hand, with those that are refused; the rest is
    /// streamed.
    pub(super) fn insert_refused(
        &mut self,
        pipeline: &mut Pipeline,
        frame_bytes: usize,
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Step, CloseReason> {
        let Some(Answer::Inserted(insertion)) = self.in_flight.front().map(|front| &front.answer) else {
            return Err(CloseReason::Internal);
        };
        pipeline.work.charge(insertion.bytes());
        let used = insertion.write(frame_bytes, frame, out).map_err(malformed)?;
        self.response_left = frame_bytes.saturating_sub(used);
        self.answered(pipeline, 0);
        Ok(Step::Wrote(used.saturating_add(LENGTH_PREFIX_BYTES)))
    }

    /// Which topics of a Metadata request are not to be asked for.
    fn judge_metadata(
        &mut self,
        pipeline: &mut Pipeline,
        api: &ApiPolicy,
        head: RequestHead,
        frame: &[u8],
    ) -> Result<Option<NextFrame<ApartRequest>>, CloseReason> {
        let whole = frame.len().saturating_add(LENGTH_PREFIX_BYTES);
        let known = std::mem::take(&mut self.names.known);
        let mut refused = std::mem::take(&mut self.names.refused);
        let mut asked = Asked::begin(frame, head.api_version).map_err(malformed)?;
        let mut count = 0_usize;
        let mut first = None;
        while let Some((name, _)) = asked.next_topic().map_err(malformed)? {
            if count >= known
                && let Some(name) = name
            {
                if count > known && pipeline.work.is_spent() {
                    self.names.known = count;
                    self.names.refused = refused;
                    return Ok(Some(NextFrame::Step(Step::Yield)));
                }
                if self.foreign(pipeline, Name::Topic(name))?.is_some() {
                    if refused.len() >= REFUSED_MAX {
                        return Err(CloseReason::DeniedApi);
                    }
                    first.get_or_insert(name);
                    refused.push(count);
                }
            }
            count = count.saturating_add(1);
        }
        // No topic would be all of them there.
        if api.key == METADATA && head.api_version == 0 && !refused.is_empty() && refused.len() == count {
            let treatment = Treatment::Refuse(Why::Foreign(Whose::Topic), first.map(Box::from));
            return self.refused(head, whole, treatment).map(Some);
        }
        let frame = ApartRequest::Frame(head, whole, Treatment::OwnTopics(refused));
        Ok(Some(NextFrame::Apart(frame)))
    }

    /// Asks for the rest of them (OWN-NAMES-1).
    pub(super) fn ask_for_own_topics(
        &mut self,
        pipeline: &mut Pipeline,
        head: RequestHead,
        frame: &[u8],
        refused: &[usize],
        out: &mut Vec<u8>,
    ) -> Result<Step, CloseReason> {
        let whole = frame.len().saturating_add(LENGTH_PREFIX_BYTES);
        if refused.is_empty() {
            self.note_request(pipeline, head, frame.len(), Answer::Metadata(Vec::new()));
            return Ok(Step::Forward(whole));
        }
        pipeline.work.charge_parsed(frame.len());
        let asked = Asked::begin(frame, head.api_version).map_err(malformed)?;
        let names = asked.write_without(refused, out).map_err(malformed)?;
        let api = self
            .listener
            .policy
            .api(head.api_key)
            .ok_or(CloseReason::DeniedApi)?;
        let refusal = (RequestRefusal::Topic, names.first().map(|name| &**name));
        pipeline.refuse_request(self.listener.cluster, &self.client, api, refusal);
        self.note_request(pipeline, head, frame.len(), Answer::Metadata(names));
        Ok(Step::Wrote(whole))
    }

    /// Writes a Metadata response with the client's own topics (OWN-NAMES-2).
    pub(super) fn write_own_topics(
        &mut self,
        pipeline: &mut Pipeline,
        version: i16,
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Step, CloseReason> {
        let mut told = match self.names.told.take() {
            Some(told) => told,
            None => Box::new(Told::begin(frame, version).map_err(malformed)?),
        };
        let asking = self.listener.asking(&self.client);
        let (rules, work) = pipeline.rules(self.listener.cluster)?;
        loop {
            let next = told.next_topic(frame, |name| rules.users(name, work).see(asking));
            let Some(bytes) = next.map_err(malformed)? else {
                break;
            };
            work.charge(bytes.saturating_add(PARTITION_WORK));
            if work.is_spent() {
                self.names.told = Some(told);
                return Ok(Step::Yield);
            }
        }
        let start = out.len();
        let brokers_end = self.map_addresses(pipeline, METADATA, version, frame, out)?;
        let refused = match self.in_flight.front().map(|front| &front.answer) {
            Some(Answer::Metadata(names)) => names.as_slice(),
            _ => &[],
        };
        told.write(frame, brokers_end, refused, start, out)
            .map_err(malformed)?;
        self.finished = Some((TimeKind::Held, Duration::ZERO));
        self.answered(pipeline, 0);
        Ok(Step::Wrote(frame.len().saturating_add(LENGTH_PREFIX_BYTES)))
    }
}

/// Requests that are longer are not looked through: ten thousand partitions.
const NAMES_BYTES_MAX: usize = 1024 * 1024;
