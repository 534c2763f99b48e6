//! From the intake's answers to the frames that tell them: acks together, questions once.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_model::RangeSet;
use muster_proto::convert::ranges_to_wire;
use muster_proto::v1::controller_frame::Body;
use muster_proto::v1::{Ack, NeedDefinitions};
use tokio::time::Instant;

use super::{End, overloaded};
use crate::intake::Answer;

/// Definitions that were asked for are not asked for again before this time: they are on their way.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// What was asked of the agent lately.
#[derive(Debug, Default)]
pub(super) struct Acks {
    asked: Option<(u64, u32, Instant)>,
}

/// What one epoch is told.
#[derive(Default)]
struct Told {
    stored: RangeSet,
    definitions: u32,
}

impl Acks {
    /// The frames for these answers, and the end of the stream, if something was not stored that the agent has to send
    /// again.
    pub(super) fn frames(
        &mut self,
        answers: impl Iterator<Item = Answer>,
        now: Instant,
    ) -> (Vec<Body>, Option<End>) {
        let mut epochs: BTreeMap<u64, Told> = BTreeMap::new();
        let mut frames = Vec::new();
        let mut end = None;
        for answer in answers {
            match answer {
                Answer::Stored { epoch, sequence, .. } => {
                    let told = epochs.entry(epoch).or_default();
                    // Beyond the bound of ranges the agent learns of it when it connects again.
                    let _ = told.stored.insert(sequence);
                }
                Answer::Defined { epoch, definitions } => {
                    let told = epochs.entry(epoch).or_default();
                    told.definitions = told.definitions.max(definitions);
                }
                Answer::NeedDefinitions { epoch, from_id } => {
                    frames.extend(self.ask(epoch, from_id, now));
                }
                Answer::TooManyHoles { lowest_hole, .. } => {
                    let message = format!("too many holes: send report {lowest_hole} first");
                    end.get_or_insert_with(|| overloaded(&message, lowest_hole));
                }
                Answer::Failed => {
                    end.get_or_insert_with(|| overloaded("reports could not be stored", 0));
                }
            }
        }
        let acks = epochs.into_iter().map(|(epoch, told)| {
            Body::Ack(Ack {
                epoch,
                stored: ranges_to_wire(&told.stored),
                definitions: told.definitions,
            })
        });
        frames.extend(acks);
        (frames, end)
    }

    fn ask(&mut self, epoch: u64, from_id: u32, now: Instant) -> Option<Body> {
        let is_asked = self.asked.is_some_and(|(asked_epoch, asked_from, at)| {
            asked_epoch == epoch && asked_from == from_id && now.duration_since(at) < ASK_AGAIN_AFTER
        });
        if is_asked {
            return None;
        }
        self.asked = Some((epoch, from_id, now));
        Some(Body::NeedDefinitions(NeedDefinitions { epoch, from_id }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(epoch: u64, sequence: u64) -> Answer {
        Answer::Stored {
            epoch,
            sequence,
            duplicate: false,
        }
    }

    #[test]
    fn what_one_commit_stored_is_one_ack_an_epoch() {
        let answers = [
            stored(7, 2),
            stored(7, 1),
            Answer::Defined {
                epoch: 7,
                definitions: 5,
            },
            stored(8, 9),
        ];
        let (frames, end) = Acks::default().frames(answers.into_iter(), Instant::now());
        assert!(end.is_none());
        let [Body::Ack(seven), Body::Ack(eight)] = &frames[..] else {
            panic!("{frames:?}")
        };
        assert_eq!(
            (seven.stored.len(), seven.stored[0].last, seven.definitions),
            (1, 2, 5)
        );
        assert_eq!((eight.epoch, eight.stored[0].first, eight.definitions), (8, 9, 0));
    }

    #[test]
    fn missing_definitions_are_asked_for_once_and_after_a_while_again() {
        let mut acks = Acks::default();
        let need = || std::iter::repeat_n(Answer::NeedDefinitions { epoch: 1, from_id: 4 }, 50);
        let start = Instant::now();
        let mut asked = |at| acks.frames(need(), at).0.len();
        assert_eq!(asked(start), 1);
        assert_eq!(asked(start + Duration::from_secs(1)), 0);
        assert_eq!(asked(start + ASK_AGAIN_AFTER), 1);
    }

    #[test]
    fn what_could_not_be_stored_ends_the_stream_and_what_was_is_told() {
        let answers = [stored(1, 1), Answer::Failed];
        let (frames, end) = Acks::default().frames(answers.into_iter(), Instant::now());
        assert!(matches!(frames[..], [Body::Ack(_)]) && end.is_some());
        let holes = Answer::TooManyHoles {
            epoch: 1,
            lowest_hole: 44,
        };
        let (_, Some(End::Close(close))) = Acks::default().frames([holes].into_iter(), Instant::now()) else {
            panic!("the stream goes on")
        };
        assert_eq!(close.sequence, 44);
    }
}
