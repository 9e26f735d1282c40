//! Fetches of topics that pass: nothing of their responses is changed, so nothing of them is held.
//!
//! - PASSING-1: a response is streamed only where all that was asked for passes: what the request names and, where it
//!   goes on with a fetch session (KIP-227), all that the session was ever asked for. One session is known, the one
//!   that was opened last over this connection. What is not known, or too long to be looked at, is held.
//! - PASSING-2: whatever was asked for, nothing behind a topic's name goes on before the name was found to pass. Any
//!   other topic closes the connection, and so does what a response that is held would be refused for.

use super::in_flight::{Answer, Pending};
use super::run::NextFrame;
use super::{Session, Step};
use crate::metrics::{CloseReason, TopicIndex};
use crate::pipeline::Pipeline;
use crate::protocol::ProtocolError;
use crate::protocol::fetch_request::{AskedSession, AskedTopics};
use crate::protocol::fetch_response::{FetchStream, Walked};
use crate::protocol::frame::LENGTH_PREFIX_BYTES;

/// What is known of a connection's fetches.
#[derive(Default)]
pub(super) struct Passing {
    /// The fetch session that was opened last, if it was asked for nothing but topics that pass.
    session: Option<i32>,
    /// Of the request whose look was broken off so many topics are known to pass.
    topics_known: usize,
    /// The response that is being streamed.
    response: Option<PassingResponse>,
}

struct PassingResponse {
    stream: FetchStream,
    /// The topic whose partitions are being streamed.
    topic: Option<TopicIndex>,
    opens_session: bool,
    delivers: bool,
    /// It goes no further.
    failed: Option<CloseReason>,
}

impl Passing {
    /// Whether a response is under way.
    pub(super) fn is_streaming(&self) -> bool {
        self.response.is_some()
    }

    /// A request goes on that nobody has looked at.
    pub(super) fn forget_session(&mut self) {
        self.session = None;
    }
}

impl Session {
    /// What is to be done with the answer to a Fetch request of `version`, which is at hand without its length; `None`:
    /// others first. It is to be looked at until it is known, and then sent.
    pub(super) fn answer_to_fetch(
        &mut self,
        pipeline: &mut Pipeline,
        frame: &[u8],
        version: i16,
    ) -> Result<Option<Answer>, CloseReason> {
        let known = std::mem::take(&mut self.passing.topics_known);
        let Ok(mut asked) = AskedTopics::begin(frame, version) else {
            self.passing.forget_session();
            return Ok(Some(Answer::Rewrite));
        };
        let session = asked.session();
        let continues = match session {
            AskedSession::Continues(id) if self.passing.session != Some(id) => {
                return Ok(Some(Answer::Rewrite));
            }
            AskedSession::Continues(_) => true,
            AskedSession::None | AskedSession::Opens => false,
        };
        let Some(topics) = self.topics_that_pass(pipeline, &mut asked, known)? else {
            return Ok(None);
        };
        // Who names nothing is sent nothing.
        let all_pass = topics.is_ok_and(|count| continues || count > 0);
        let opens_session = session == AskedSession::Opens;
        if opens_session || continues && !all_pass {
            self.passing.forget_session();
        }
        Ok(Some(if all_pass {
            Answer::Passing { opens_session }
        } else {
            Answer::Rewrite
        }))
    }

    /// How many topics a request asks for, if all of them pass, as the first `known` do; `None`: others first.
    fn topics_that_pass(
        &mut self,
        pipeline: &mut Pipeline,
        asked: &mut AskedTopics<'_>,
        known: usize,
    ) -> Result<Option<Result<usize, NotPassing>>, CloseReason> {
        let mut count = 0_usize;
        let mut walked = 0;
        loop {
            let name = match asked.next_name() {
                Ok(Some(name)) => name,
                Ok(None) => return Ok(Some(Ok(count))),
                Err(_) => return Ok(Some(Err(NotPassing))),
            };
            if count >= known {
                if pipeline.work.is_spent() {
                    self.passing.topics_known = count;
                    return Ok(None);
                }
                pipeline.work.charge(asked.position().saturating_sub(walked));
            }
            walked = asked.position();
            count = count.saturating_add(1);
            if count <= known {
                continue;
            }
            let Ok(name) = std::str::from_utf8(name) else {
                return Ok(Some(Err(NotPassing)));
            };
            let topic = pipeline.topic(self.listener.cluster, name)?;
            if !topic.passes(&self.listener, &self.client) {
                return Ok(Some(Err(NotPassing)));
            }
        }
    }

    /// The answer to the oldest request begins, and is to be streamed.
    pub(super) fn begin_passing(
        &mut self,
        pipeline: &mut Pipeline,
        frame_bytes: usize,
    ) -> Result<NextFrame<super::responses::ApartResponse>, CloseReason> {
        let Some(Pending {
            api_version,
            answer: Answer::Passing { opens_session },
            ..
        }) = self.answered(pipeline, 0)
        else {
            return Err(CloseReason::Internal);
        };
        let stream = FetchStream::begin(api_version, frame_bytes).map_err(super::run::malformed)?;
        self.passing.response = Some(PassingResponse {
            stream,
            topic: None,
            opens_session,
            delivers: false,
            failed: None,
        });
        self.response_left = frame_bytes;
        Ok(NextFrame::Streamed(LENGTH_PREFIX_BYTES))
    }

    /// Goes on with the response that is being streamed, of which `input` is what has come.
    pub(super) fn pass_on<A>(
        &mut self,
        pipeline: &mut Pipeline,
        input: &[u8],
    ) -> Result<NextFrame<A>, CloseReason> {
        let Some(mut response) = self.passing.response.take() else {
            return Err(CloseReason::Internal);
        };
        let mut at = 0_usize;
        let outcome = loop {
            if pipeline.work.is_spent() && response.stream.left() > 0 {
                break Ok(NextFrame::Step(Step::Yield));
            }
            let rest = input.get(at..).unwrap_or_default();
            match self.pass_field(pipeline, &mut response, rest) {
                Ok(Some((bytes, is_end))) => {
                    at = at.saturating_add(bytes);
                    if is_end {
                        if response.delivers {
                            self.pace.delivered();
                        }
                        self.response_left = 0;
                        return Ok(NextFrame::Streamed(at));
                    }
                }
                Ok(None) => break Ok(NextFrame::Step(Step::More)),
                Err(reason) => break Err(reason),
            }
        };
        self.response_left = response.stream.left();
        self.passing.response = Some(response);
        // What has stopped it is met again once that is gone.
        if at > 0 {
            return Ok(NextFrame::Streamed(at));
        }
        outcome
    }

    /// Looks at what `input` begins with; says how many bytes of it go on, and whether the response ends with them.
    /// `None`: more have to be there first.
    fn pass_field(
        &mut self,
        pipeline: &mut Pipeline,
        response: &mut PassingResponse,
        input: &[u8],
    ) -> Result<Option<(usize, bool)>, CloseReason> {
        if let Some(reason) = response.failed {
            return Err(reason);
        }
        let walked = response.stream.walk(input).map_err(|error| {
            self.fault = Some(error);
            CloseReason::MalformedFrame
        });
        let Some((bytes, what)) = walked? else {
            return Ok(None);
        };
        match what {
            Walked::Records => {
                response.delivers = true;
                if let Some(topic) = response.topic {
                    pipeline.metrics.topic(topic).passed(0, bytes as u64);
                }
                return Ok(Some((bytes, false)));
            }
            Walked::Session(id) => {
                if response.opens_session && id != NO_SESSION {
                    self.passing.session = Some(id);
                }
            }
            Walked::Topic(name) => {
                let topic = match pipeline.topic(self.listener.cluster, name) {
                    Ok(topic) => topic,
                    Err(reason) => {
                        response.failed = Some(reason);
                        return Err(reason);
                    }
                };
                if !topic.passes(&self.listener, &self.client) {
                    let at = response.stream.position().saturating_sub(bytes);
                    self.fault = Some(ProtocolError::NotAskedFor { at });
                    response.failed = Some(CloseReason::UnexpectedResponse);
                    return Err(CloseReason::UnexpectedResponse);
                }
                response.topic = Some(topic.metrics);
            }
            Walked::Other => {}
            Walked::End => return Ok(Some((bytes, true))),
        }
        pipeline.work.charge_parsed(bytes);
        Ok(Some((bytes, false)))
    }
}

/// Not all that is asked for passes, as far as can be seen.
struct NotPassing;

/// In a response: none was opened.
const NO_SESSION: i32 = 0;
