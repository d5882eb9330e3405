//! policy.toml as serde sees it: every key, and where its value stands.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer, value::SeqAccessDeserializer},
};
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyFile {
    #[serde(default)]
    pub(super) groups: BTreeMap<Spanned<String>, Spanned<GroupFile>>,
    #[serde(default, rename = "rule")]
    pub(super) rules: Vec<RuleFile>,
    #[serde(default)]
    pub(super) sign_in: Vec<SignInFile>,
    #[serde(default)]
    pub(super) registered_keys: BTreeMap<Spanned<String>, Vec<Spanned<String>>>,
}

/// How people may sign in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignInFile {
    pub(super) name: Spanned<String>,
    pub(super) users: Texts,
    pub(super) groups: Texts,
    pub(super) device_flow: Option<bool>,
    pub(super) binding: Option<Spanned<String>>,
    pub(super) from: Texts,
    #[serde(default)]
    pub(super) registered: bool,
    #[serde(default)]
    pub(super) one_key: bool,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupTable {
    #[serde(default)]
    pub(super) members: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) provider: OneOrMore,
}

pub(super) struct GroupFile(pub(super) GroupTable);

#[derive(Default)]
pub(super) struct OneOrMore(pub(super) Vec<String>);

/// A list, and where it and each of its texts stand.
pub(super) type Texts = Option<Spanned<Vec<Spanned<String>>>>;
pub(super) type Labels = Option<Spanned<BTreeMap<String, Spanned<String>>>>;

/// A rule: what it is about, with the keys of [`ScopeFile`], and what is a rule's alone.
///
/// The keys stand here once more because serde's `flatten` would lose where the values stand.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleFile {
    pub(super) name: Spanned<String>,
    pub(super) action: Spanned<String>,
    users: Texts,
    groups: Texts,
    targets: Texts,
    labels: Labels,
    logins: Texts,
    pub(super) login: Option<Spanned<String>>,
    channels: Texts,
    when: Option<WhenFile>,
    from: Texts,
    max_age: Option<Spanned<String>>,
    amr: Texts,
    acr: Texts,
    pub(super) unless: Option<Spanned<UnlessFile>>,
    pub(super) longest: Option<Spanned<String>>,
    pub(super) idle: Option<Spanned<String>>,
}

/// What a rule, or an exception of one, is about.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScopeFile {
    pub(super) users: Texts,
    pub(super) groups: Texts,
    pub(super) targets: Texts,
    pub(super) labels: Labels,
    pub(super) logins: Texts,
    pub(super) channels: Texts,
    pub(super) when: Option<WhenFile>,
    pub(super) from: Texts,
    pub(super) max_age: Option<Spanned<String>>,
    pub(super) amr: Texts,
    pub(super) acr: Texts,
}

/// One exception, or several.
pub(super) enum UnlessFile {
    One(Box<ScopeFile>),
    Several(Vec<Spanned<ScopeFile>>),
}

impl RuleFile {
    /// Takes out what it is about.
    pub(super) fn take_scope(&mut self) -> ScopeFile {
        ScopeFile {
            users: self.users.take(),
            groups: self.groups.take(),
            targets: self.targets.take(),
            labels: self.labels.take(),
            logins: self.logins.take(),
            channels: self.channels.take(),
            when: self.when.take(),
            from: self.from.take(),
            max_age: self.max_age.take(),
            amr: self.amr.take(),
            acr: self.acr.take(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WhenFile {
    pub(super) days: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) hours: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) zone: Spanned<String>,
}

impl<'de> Deserialize<'de> for GroupFile {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct ListOrTable;

        impl<'de> Visitor<'de> for ListOrTable {
            type Value = GroupFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of names, or a table with `members` and `provider`")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<GroupFile, A::Error> {
                let members = Vec::deserialize(SeqAccessDeserializer::new(list))?;
                Ok(GroupFile(GroupTable { members, ..GroupTable::default() }))
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<GroupFile, A::Error> {
                GroupTable::deserialize(MapAccessDeserializer::new(table)).map(GroupFile)
            }
        }

        from.deserialize_any(ListOrTable)
    }
}

impl<'de> Deserialize<'de> for UnlessFile {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct TableOrList;

        impl<'de> Visitor<'de> for TableOrList {
            type Value = UnlessFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of what the rule is not about, or a list of such tables")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<UnlessFile, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(UnlessFile::Several)
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<UnlessFile, A::Error> {
                let one = ScopeFile::deserialize(MapAccessDeserializer::new(table))?;
                Ok(UnlessFile::One(Box::new(one)))
            }
        }

        from.deserialize_any(TableOrList)
    }
}

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct TextOrList;

        impl<'de> Visitor<'de> for TextOrList {
            type Value = OneOrMore;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a group at the provider, or a list of them")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<OneOrMore, E> {
                Ok(OneOrMore(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<OneOrMore, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(OneOrMore)
            }
        }

        from.deserialize_any(TextOrList)
    }
}
