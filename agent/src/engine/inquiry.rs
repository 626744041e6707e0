//! What only a runtime's socket can tell, asked by a task of its own: the engine never waits for a runtime.
//!
//! Bounds: [`QUEUE`] questions wait at once and [`AT_ONCE`] are asked; at the bound a container is asked about later. Each
//! question ends within some seconds.

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Engine;
use super::learn::Learning;
use crate::container::runtimes::{self, Question, QuestionError};

/// Most questions that wait for the task, and most answers that wait for the engine.
const QUEUE: usize = 256;
/// Most questions that are asked at once.
const AT_ONCE: usize = 8;

/// Hands questions to the task.
pub(super) struct Inquirer {
    questions: mpsc::Sender<(u64, Question)>,
}

/// What a runtime said about a container.
pub struct Answered {
    container: u64,
    result: Result<runtimes::Answered, QuestionError>,
}

impl Inquirer {
    /// Starts the task. It ends when the inquirer is dropped. Panics outside of a tokio runtime.
    pub(super) fn start() -> (Self, mpsc::Receiver<Answered>) {
        let (questions, asked) = mpsc::channel(QUEUE);
        let (answers, answered) = mpsc::channel(QUEUE);
        tokio::spawn(serve(asked, answers));
        (Self { questions }, answered)
    }

    /// Asks about a container; false if too many questions wait.
    pub(super) fn ask(&self, container: u64, question: Question) -> bool {
        self.questions.try_send((container, question)).is_ok()
    }
}

async fn serve(mut questions: mpsc::Receiver<(u64, Question)>, answers: mpsc::Sender<Answered>) {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            question = questions.recv(), if running.len() < AT_ONCE => {
                let Some((container, question)) = question else { break };
                running.spawn(async move {
                    Answered { container, result: runtimes::ask(&question).await }
                });
            }
            Some(ended) = running.join_next() => {
                // A question that panics has no answer; the container is asked about again.
                if let Ok(answered) = ended && answers.send(answered).await.is_err() {
                    break;
                }
            }
        }
    }
}

impl Engine {
    /// A runtime has answered, or why it did not.
    pub(super) fn answered(&mut self, answered: Answered) {
        let cgroup = answered.container;
        let Some(tracked) = self.containers.get(&cgroup) else {
            return;
        };
        let Some(search) = tracked.search() else { return };
        let mut learning = Learning::default();
        match (answered.result, search.described.clone()) {
            (Ok(runtimes::Answered::Image(answer)), Some(mut info)) => {
                answer.complete(&mut info);
                self.described(cgroup, *info, &mut learning);
            }
            (Ok(runtimes::Answered::Image(_)), None) => {}
            (Ok(runtimes::Answered::Container(Some(info))), _) => {
                self.described(cgroup, *info, &mut learning);
            }
            (Ok(runtimes::Answered::Container(None)), _) => {
                let reason = "the user whose cgroup it is in has no container of this id";
                self.search_further(cgroup, reason.to_owned(), &mut learning);
            }
            (Err(error), _) => self.search_further(cgroup, error.to_string(), &mut learning),
        }
        self.learn(learning);
    }
}
