//! What the demo's issuer shows in a browser.

use axum::http::{HeaderName, HeaderValue, header};

use super::{PEOPLE, Person};

/// No script, no frame, no cache, and a form that goes nowhere else.
pub const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    // With "no-referrer" browsers send our own form with the origin "null", which is refused.
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

const HEAD: &str = r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Bastion demo sign-in</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 32rem; margin: 3rem auto; padding: 0 1rem }
.demo { background: #fd6; padding: .5rem 1rem; border-radius: .3rem }
.wrong { color: #a00 }
label { display: block; margin-top: 1rem }
input[type=text] { font: inherit; width: 100%; box-sizing: border-box; padding: .3rem }
button { font: inherit; margin: 1.5rem 1rem 0 0; padding: .4rem 1rem }
</style></head><body>
<p class="demo">For development only: nobody is asked for a password here.</p>
"#;

/// The page that asks for code, person and word. `user_code` holds letters and a dash alone.
pub fn form(user_code: &str, wrong: Option<&str>) -> String {
    let wrong = wrong.map_or(String::new(), |why| format!("<p class=\"wrong\" role=\"alert\">{why}</p>\n"));
    let people: String = PEOPLE.iter().map(person_choice).collect();
    format!(
        r#"{HEAD}<h1>Sign in to the demo</h1>
{wrong}<form method="post" action="/device" autocomplete="off">
<label>Code that ssh shows <input type="text" name="user_code" value="{user_code}" required></label>
<fieldset><legend>You are</legend>
{people}</fieldset>
<label>One-time word from the demo's terminal <input type="text" name="word" required></label>
<button name="answer" value="confirm">Sign in</button>
<button name="answer" value="deny">Deny</button>
</form>
</body></html>
"#
    )
}

fn person_choice(person: &Person) -> String {
    let (name, group) = (person.name, person.group);
    let first = if PEOPLE.first() == Some(person) { " checked" } else { "" };
    format!(
        "<label><input type=\"radio\" name=\"person\" value=\"{name}\"{first}> {name}, in group {group}</label>\n"
    )
}

/// The page that ends it: who has signed in, or nobody.
pub fn done(person: Option<&Person>) -> String {
    match person {
        Some(person) => format!(
            "{HEAD}<h1>Signed in as {}</h1>\n<p>Go back to the terminal.</p>\n</body></html>\n",
            person.name
        ),
        None => format!("{HEAD}<h1>Denied</h1>\n<p>The connection is refused.</p>\n</body></html>\n"),
    }
}
