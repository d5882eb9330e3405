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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleFile {
    pub(super) name: Spanned<String>,
    pub(super) action: Spanned<String>,
    #[serde(default)]
    pub(super) users: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) groups: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) targets: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) labels: Option<Spanned<BTreeMap<String, Spanned<String>>>>,
    pub(super) logins: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) login: Option<Spanned<String>>,
    pub(super) channels: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) when: Option<WhenFile>,
    pub(super) longest: Option<Spanned<String>>,
    pub(super) idle: Option<Spanned<String>>,
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
