//! When what is done with a device.

use std::time::Duration;

use tokio::time::Instant;

use crate::device::Device;

/// After what time values that a device did not take are written again.
const WRITE_AGAIN: Duration = Duration::from_secs(5);

/// What is done. Numbers are those of properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    /// Values that are wanted are written.
    Write,
    /// The state is reported.
    State,
    /// A property is read and reported.
    Report(usize),
    /// A property is read and sent to where it is pushed to.
    Push(usize),
}

/// The jobs of one device.
#[derive(Debug)]
pub(crate) struct Schedule {
    jobs: Vec<(Job, Duration, Instant)>,
}

impl Schedule {
    /// Everything is done at once and then in its cycle.
    pub(crate) fn of(device: &Device, now: Instant) -> Self {
        let mut jobs = vec![(Job::Write, WRITE_AGAIN, now)];
        jobs.extend(device.state_cycle.map(|cycle| (Job::State, cycle, now)));
        for (number, property) in device.properties.iter().enumerate() {
            jobs.extend(property.collect_cycle.map(|cycle| (Job::Report(number), cycle, now)));
            if property.push.is_some() || property.database.is_some() {
                jobs.push((Job::Push(number), property.report_cycle, now));
            }
        }
        Self { jobs }
    }

    /// Returns when something is to be done.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.jobs.iter().map(|(_, _, at)| *at).min()
    }

    /// Returns what is to be done now, in order. Turns that were missed are not made up for.
    pub(crate) fn take(&mut self, now: Instant) -> Vec<Job> {
        let mut due = Vec::new();
        for (job, cycle, at) in &mut self.jobs {
            if *at <= now {
                due.push(*job);
                *at += *cycle;
                if *at <= now {
                    *at = now + *cycle;
                }
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_job_keeps_its_cycle_and_missed_turns_are_not_made_up_for() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let jobs = vec![(Job::State, 2 * second, start), (Job::Report(0), 3 * second, start)];
        let mut schedule = Schedule { jobs };
        assert_eq!(schedule.take(start), [Job::State, Job::Report(0)]);
        assert_eq!(schedule.next_at(), Some(start + 2 * second));
        assert_eq!(schedule.take(start + second), []);
        assert_eq!(schedule.take(start + 2 * second), [Job::State]);
        assert_eq!(schedule.take(start + 100 * second), [Job::State, Job::Report(0)]);
        assert_eq!(schedule.next_at(), Some(start + 102 * second));
    }
}
