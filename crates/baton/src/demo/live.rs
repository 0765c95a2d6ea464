//! The live view: the hosts, the client's connections, and keys to break things.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use baton_lab::cluster::{Cluster, Plan};
use baton_lab::fault::Fault;
use baton_lab::lab::Part;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph, Row, Sparkline, Table};
use ratatui::{DefaultTerminal, Frame};

use super::{Args, tour};

/// Time between two pictures.
const FRAME: Duration = Duration::from_millis(200);
/// Time that one column of the client's picture stands for.
const COLUMN: Duration = Duration::from_millis(100);
/// Answers in a full column.
const FULL: u64 = 20;
/// How long an action is watched.
const WATCHED: Duration = Duration::from_secs(5);
/// Actions that are shown.
const ACTIONS: usize = 8;
/// How long a daemon may take to end.
const PATIENCE: Duration = Duration::from_secs(3);
const KEYS: &str = "1 2 3 choose   p power   k kill -9   t SIGTERM   d start daemon   s stop/continue   c cable   i isolate   \
                    f flush nft   a delete address   b B servers   q quit";

/// What was done to a host.
#[derive(Clone, Copy, Default)]
struct Broken {
    powerless: bool,
    ended: bool,
    stopped: bool,
    unplugged: bool,
    isolated: bool,
}

/// An action and what it was followed by.
struct Action {
    at: Instant,
    text: String,
}

struct View {
    cluster: Cluster,
    broken: Vec<Broken>,
    servers: [bool; 2],
    chosen: usize,
    actions: Vec<Action>,
}

/// Runs it until somebody quits. True unless two hosts ever answered.
pub(super) fn run(args: &Args) -> io::Result<bool> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(io::Error::other("--interactive needs a terminal; without it the tour runs by itself"));
    }
    let began = Instant::now();
    let cluster = Cluster::start(Plan::new(tour::subject(args)))?;
    let broken = vec![Broken::default(); cluster.nodes().len()];
    let mut view = View { cluster, broken, servers: [true; 2], chosen: 0, actions: Vec::new() };
    view.note("start of all three".to_owned());
    let mut terminal = ratatui::init();
    let result = view.work(&mut terminal);
    ratatui::restore();
    result?;
    Ok(view.cluster.report(began, Instant::now()).answering.most <= 1)
}

impl View {
    fn work(&mut self, terminal: &mut DefaultTerminal) -> io::Result<()> {
        loop {
            terminal.draw(|frame| self.draw(frame))?;
            if !event::poll(FRAME)? {
                continue;
            }
            let Event::Key(key) = event::read()? else { continue };
            if key.kind != KeyEventKind::Press {
                continue;
            }
            match key.code {
                KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
                KeyCode::Char(key) => self.press(key)?,
                _ => {}
            }
        }
    }

    fn note(&mut self, text: String) {
        self.actions.push(Action { at: Instant::now(), text });
        let surplus = self.actions.len().saturating_sub(ACTIONS);
        self.actions.drain(..surplus);
    }

    fn press(&mut self, key: char) -> io::Result<()> {
        let place = self.chosen;
        let broken = self.broken[place];
        let name = self.cluster.name(place);
        match key {
            '1'..='3' => {
                self.chosen = usize::from(key as u8 - b'1').min(self.broken.len() - 1);
                Ok(())
            }
            'b' | 'B' => self.toggle_server(usize::from(key == 'B')),
            'p' => self.toggle_power(),
            _ if broken.powerless => Ok(()),
            'k' => self.strike(Fault::Kill, |broken| broken.ended = true),
            't' => self.strike(Fault::Terminate, |broken| broken.ended = true),
            'f' => self.strike(Fault::FlushRuleset, |_| {}),
            'a' => self.strike(Fault::RemoveAddress, |_| {}),
            'd' if broken.ended => {
                self.note(format!("{name}: daemon started"));
                self.broken[place].ended = false;
                if self.cluster.terminate(place, PATIENCE) { self.cluster.start_daemon(place) } else { Ok(()) }
            }
            's' if !broken.ended => {
                self.note(format!("{name}: {}", if broken.stopped { "SIGCONT" } else { "SIGSTOP" }));
                self.broken[place].stopped = !broken.stopped;
                let cluster = &mut self.cluster;
                if broken.stopped { Fault::Stop.repair(cluster, place) } else { Fault::Stop.strike(cluster, place) }
            }
            'c' => {
                self.note(format!("{name}: cable {}", if broken.unplugged { "plugged in" } else { "pulled" }));
                self.broken[place].unplugged = !broken.unplugged;
                self.cluster.set_cable(place, broken.unplugged)
            }
            'i' => {
                self.note(format!("{name}: {}", if broken.isolated { "healed" } else { "cut off, carrier stays" }));
                self.broken[place].isolated = !broken.isolated;
                self.cluster.set_part(place, if broken.isolated { Part::Mainland } else { Part::Island })
            }
            _ => Ok(()),
        }
    }

    fn strike(&mut self, fault: Fault, mark: impl FnOnce(&mut Broken)) -> io::Result<()> {
        let place = self.chosen;
        if self.broken[place].ended {
            return Ok(());
        }
        self.note(format!("{}: {}", self.cluster.name(place), fault.title()));
        mark(&mut self.broken[place]);
        fault.strike(&mut self.cluster, place)
    }

    fn toggle_power(&mut self) -> io::Result<()> {
        let place = self.chosen;
        let off = !self.broken[place].powerless;
        self.note(format!("{}: power {}", self.cluster.name(place), if off { "off" } else { "on" }));
        self.broken[place] = Broken { powerless: off, ..Broken::default() };
        if off { self.cluster.power_off(place) } else { self.cluster.power_on(place) }
    }

    fn toggle_server(&mut self, place: usize) -> io::Result<()> {
        let running = self.servers[place];
        self.note(format!("server {}: {}", place + 1, if running { "dies" } else { "starts" }));
        self.servers[place] = !running;
        if running {
            self.cluster.stop_backend(place);
            return Ok(());
        }
        self.cluster.start_backend(place)
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let rows = u16::try_from(self.broken.len()).unwrap_or(3) + 3;
        let actions = u16::try_from(ACTIONS).unwrap_or(8) + 2;
        let [hosts, client, history, keys] = Layout::vertical([
            Constraint::Length(rows),
            Constraint::Min(4),
            Constraint::Length(actions),
            Constraint::Length(3),
        ])
        .areas(frame.area());
        let title = format!(" {} and who holds it ", self.cluster.vip());
        frame.render_widget(self.hosts().block(Block::bordered().title(title)), hosts);
        let columns = usize::from(client.width.saturating_sub(2));
        let data = self.columns(columns);
        let title = " client: connections answered, 100 ms each column ";
        let sparkline = Sparkline::default().data(&data).max(FULL).style(Style::new().fg(Color::Green));
        frame.render_widget(sparkline.block(Block::bordered().title(title)), client);
        let title = " what happened, and what it cost the client ";
        frame.render_widget(Paragraph::new(self.history()).block(Block::bordered().title(title)), history);
        frame.render_widget(Paragraph::new(KEYS).wrap(ratatui::widgets::Wrap { trim: true }), keys);
    }

    fn hosts(&self) -> Table<'static> {
        let holder = self.cluster.holder();
        let rows = self.broken.iter().enumerate().map(|(place, broken)| {
            let holds = holder == Some(place);
            let state = match broken {
                Broken { powerless: true, .. } => "no power",
                Broken { ended: true, .. } => "no daemon",
                Broken { stopped: true, .. } => "stopped",
                Broken { unplugged: true, .. } => "cable pulled",
                Broken { isolated: true, .. } => "cut off",
                _ => "well",
            };
            let mark = if place == self.chosen { "▶" } else { " " };
            let answers = if holds { "answers" } else { "" };
            let style = if holds { Style::new().fg(Color::Green).add_modifier(Modifier::BOLD) } else { Style::new() };
            Row::new([mark.to_owned(), self.cluster.name(place), state.to_owned(), answers.to_owned()]).style(style)
        });
        let widths = [Constraint::Length(2), Constraint::Length(6), Constraint::Length(14), Constraint::Min(10)];
        Table::new(rows, widths).header(Row::new(["", "host", "state", "on the wire"]))
    }

    /// Answers in each of the last `count` columns.
    fn columns(&self, count: usize) -> Vec<u64> {
        let mut columns = vec![0; count];
        let now = Instant::now();
        let span = COLUMN * u32::try_from(count).unwrap_or(u32::MAX);
        let Some(from) = now.checked_sub(span) else { return columns };
        for attempt in self.cluster.client().attempts(from, now) {
            let answered = matches!(attempt.outcome, baton_lab::client::Outcome::Answered(_));
            let column = (attempt.started - from).as_millis() / COLUMN.as_millis();
            let column = usize::try_from(column).ok().and_then(|column| columns.get_mut(column));
            column.into_iter().for_each(|column| *column += u64::from(answered));
        }
        columns
    }

    fn history(&self) -> Vec<Line<'static>> {
        let now = Instant::now();
        let ends = self.actions.iter().skip(1).map(|next| next.at).chain(std::iter::once(now));
        let line = |(action, end): (&Action, Instant)| {
            let end = end.min(action.at + WATCHED);
            let seen = self.cluster.client().seen(action.at, end);
            let answering = self.cluster.observer().answering(self.cluster.vip(), action.at, end);
            let style = if answering.most > 1 { Style::new().fg(Color::Red) } else { Style::new() };
            let (outage, most) = (seen.outage.as_millis(), answering.most);
            Line::styled(format!("{:<36} without {outage:>5} ms, answering at most {most}", action.text), style)
        };
        self.actions.iter().zip(ends).map(line).collect()
    }
}
