//! The numbered list of targets, for callers who named none and whose terminal cannot show the picker.

use gate::{Destination, Name, Pty};
use russh::{Channel, ChannelMsg, server};

use crate::wire;

/// More than a number or a name is no answer.
const LINE_BYTES_MAX: usize = 128;
/// Wrong answers before the channel is closed.
const TRIES_MAX: usize = 5;

/// A target that the caller may reach.
pub struct Item {
    /// Its name.
    pub name: Name,
    /// Logins that she may use there, the default one first.
    pub logins: Vec<Name>,
    /// Labels, as `key=value`.
    pub labels: Vec<String>,
}

/// What the caller answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Chosen {
    /// A target of the list, with a login if she named one; and what she typed after it, which is the target's.
    Target(Destination, Vec<u8>),
    /// Nothing: she left.
    Nothing,
}

/// The list as text, a line each.
pub fn list(items: &[Item]) -> String {
    let width = items.iter().map(|item| item.name.as_str().len()).max().unwrap_or(0);
    let line = |(at, item): (usize, &Item)| {
        let logins = item.logins.iter().map(Name::as_str).collect::<Vec<_>>().join(",");
        let text =
            format!("{:>4}  {:width$}  {logins}  {}", at + 1, item.name.as_str(), item.labels.join(" "));
        format!("{}\n", text.trim_end())
    };
    items.iter().enumerate().map(line).collect()
}

/// Shows the list and asks until there is an answer, or the caller leaves.
pub async fn ask(
    channel: &mut Channel<server::Msg>,
    pty: &mut Pty,
    items: &[Item],
) -> Result<Chosen, russh::Error> {
    let text = format!("Targets that you may reach:\n{}", list(items)).replace('\n', "\r\n");
    channel.data_bytes(text).await?;
    for _ in 0..TRIES_MAX {
        channel.data_bytes("number or name (Ctrl-C leaves): ").await?;
        let Some(line) = read_line(channel, pty).await? else { break };
        let (line, typed_ahead) = line;
        match find(items, &line) {
            Some(chosen) => return Ok(Chosen::Target(chosen, typed_ahead)),
            None => channel.data_bytes("no such number or name in the list\r\n").await?,
        }
    }
    Ok(Chosen::Nothing)
}

/// By number, by name, or as `login@name`.
fn find(items: &[Item], line: &str) -> Option<Destination> {
    let line = line.trim();
    if let Ok(number) = line.parse::<usize>() {
        let item = number.checked_sub(1).and_then(|at| items.get(at))?;
        return Some(Destination { login: None, target: item.name.clone() });
    }
    let named = Destination::parse(line.as_bytes()).ok()?;
    items.iter().any(|item| item.name == named.target).then_some(named)
}

/// Reads one line with echo and backspace; none if the caller leaves.
async fn read_line(
    channel: &mut Channel<server::Msg>,
    pty: &mut Pty,
) -> Result<Option<(String, Vec<u8>)>, russh::Error> {
    let mut line = Line::default();
    loop {
        let data = match channel.wait().await {
            None | Some(ChannelMsg::Close | ChannelMsg::Eof) => return Ok(None),
            Some(ChannelMsg::Data { data }) => data,
            Some(ChannelMsg::WindowChange { col_width, row_height, pix_width, pix_height }) => {
                wire::resize(pty, col_width, row_height, (pix_width, pix_height));
                continue;
            }
            Some(_) => continue,
        };
        let mut keys = data.into_iter();
        while let Some(byte) = keys.next() {
            let (echo, end) = line.key(byte);
            channel.data_bytes(echo.to_owned()).await?;
            match end {
                Some(End::Enter) => return Ok(Some((line.text, keys.collect()))),
                Some(End::Left) => return Ok(None),
                None => {}
            }
        }
    }
}

enum End {
    Enter,
    Left,
}

/// A line being typed.
#[derive(Default)]
struct Line {
    text: String,
}

impl Line {
    /// Takes one key; answers what to echo, and whether the line is over.
    fn key(&mut self, byte: u8) -> (String, Option<End>) {
        match byte {
            b'\r' | b'\n' => ("\r\n".into(), Some(End::Enter)),
            3 | 4 => ("\r\n".into(), Some(End::Left)),
            8 | 127 => (if self.text.pop().is_some() { "\x08 \x08".into() } else { String::new() }, None),
            21 => (std::mem::take(&mut self.text).chars().map(|_| "\x08 \x08").collect(), None),
            b' '..=b'~' if self.text.len() < LINE_BYTES_MAX => {
                self.text.push(char::from(byte));
                (char::from(byte).to_string(), None)
            }
            _ => (String::new(), None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items() -> Vec<Item> {
        let item = |name: &str| Item {
            name: name.parse().unwrap(),
            logins: vec!["root".parse().unwrap()],
            labels: vec!["env=prod".into()],
        };
        vec![item("db1"), item("web1")]
    }

    #[test]
    fn a_target_is_chosen_by_number_by_name_or_with_a_login() {
        let to = |login: Option<&str>, target: &str| {
            let login = login.map(|login| login.parse().unwrap());
            Some(Destination { login, target: target.parse().unwrap() })
        };
        assert_eq!(find(&items(), "2"), to(None, "web1"));
        assert_eq!(find(&items(), " db1 "), to(None, "db1"));
        assert_eq!(find(&items(), "deploy@db1"), to(Some("deploy"), "db1"));
        for wrong in ["0", "3", "", "db", "a b@db1", "99999999999999999999999"] {
            assert_eq!(find(&items(), wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_list_numbers_its_lines_and_names_logins_and_labels() {
        assert_eq!(list(&items()), "   1  db1   root  env=prod\n   2  web1  root  env=prod\n");
    }

    #[test]
    fn a_line_can_be_corrected_and_holds_no_more_than_its_bound() {
        let mut line = Line::default();
        for byte in b"dc\x7fb\x08\x08\x08db1" {
            line.key(*byte);
        }
        assert_eq!(line.text, "db1");

        for _ in 0..1000 {
            line.key(b'x');
        }
        assert_eq!(line.text.len(), LINE_BYTES_MAX);
    }
}
