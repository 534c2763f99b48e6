//! The API reference as a page: what the OpenAPI document says, for people, with nothing from elsewhere.

use axum::extract::State;
use maud::{Markup, html};
use serde_json::{Map, Value};

use super::layout;
use crate::http::HttpState;
use crate::http::access::Caller;
use crate::http::error::Problem;

/// Methods in the order they are shown.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The reference.
pub(in crate::http) async fn docs(State(state): State<HttpState>, caller: Caller) -> Result<Markup, Problem> {
    let text = state.openapi.get().map(String::as_str).unwrap_or_default();
    let document: Value = serde_json::from_str(text).map_err(|error| Problem::internal(&error))?;
    Ok(layout::still(
        "API reference",
        &caller.principal,
        &reference(&document),
    ))
}

fn reference(document: &Value) -> Markup {
    let operations = operations(document);
    let mut tags: Vec<&str> = operations.iter().map(|operation| operation.tag).collect();
    tags.sort_unstable();
    tags.dedup();
    let empty = Map::new();
    let schemas = document["components"]["schemas"].as_object().unwrap_or(&empty);
    html! {
        h1 { "API reference" }
        p { (document["info"]["description"].as_str().unwrap_or_default()) }
        p { "The same for programs: " a href="/api/openapi.json" { "/api/openapi.json" } }
        @for tag in &tags {
            section {
                h2 { (tag) }
                ul {
                    @for operation in operations.iter().filter(|operation| operation.tag == *tag) {
                        li { a href={ "#" (operation.id) } { code { (operation.method) " " (operation.path) } } }
                    }
                }
            }
        }
        @for operation in &operations { (operation.show()) }
        section {
            h2 { "Objects" }
            @for (name, schema) in schemas { (object(name, schema)) }
        }
    }
}

struct Operation<'a> {
    id: &'a str,
    tag: &'a str,
    method: String,
    path: &'a str,
    value: &'a Value,
}

fn operations(document: &Value) -> Vec<Operation<'_>> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for method in METHODS {
            if let Some(value) = item.get(method) {
                found.push(Operation {
                    id: value["operationId"].as_str().unwrap_or_default(),
                    tag: value["tags"][0].as_str().unwrap_or("other"),
                    method: method.to_uppercase(),
                    path,
                    value,
                });
            }
        }
    }
    found
}

impl Operation<'_> {
    fn show(&self) -> Markup {
        let text = |field: &str| self.value[field].as_str().unwrap_or_default().to_owned();
        let parameters = self.value["parameters"].as_array();
        let bodies = self.value["requestBody"]["content"].as_object();
        html! {
            section id=(self.id) {
                h3 { code { (self.method) " " (self.path) } }
                p { (text("summary")) }
                @for paragraph in text("description").split("\n\n") { p { (paragraph) } }
                @if let Some(parameters) = parameters {
                    table {
                        tr { th { "Parameter" } th { "In" } th { "Type" } th { "Meaning" } }
                        @for parameter in parameters {
                            tr {
                                td {
                                    code { (parameter["name"].as_str().unwrap_or_default()) }
                                    @if parameter["required"] == true { " (needed)" }
                                }
                                td { (parameter["in"].as_str().unwrap_or_default()) }
                                td { (kind(&parameter["schema"])) }
                                td { (parameter["description"].as_str().unwrap_or_default()) }
                            }
                        }
                    }
                }
                @for (media, body) in bodies.into_iter().flatten() {
                    p { "Body: " (kind(&body["schema"])) " as " code { (media) } }
                }
                table {
                    tr { th { "Answer" } th { "Meaning" } th { "Body" } }
                    @for (status, answer) in self.value["responses"].as_object().into_iter().flatten() {
                        tr {
                            td { @if status == "default" { "else" } @else { (status) } }
                            td { (answer["description"].as_str().unwrap_or_default()) }
                            td {
                                @for (media, body) in answer["content"].as_object().into_iter().flatten() {
                                    (kind(&body["schema"])) " as " code { (media) } br;
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// An object of the API with its fields.
fn object(name: &str, schema: &Value) -> Markup {
    let needed = schema["required"].as_array();
    let is_needed = |field: &str| needed.is_some_and(|needed| needed.iter().any(|name| name == field));
    // What is flattened into an object stands beside its own fields.
    let parts: Vec<&Value> = match schema["allOf"].as_array() {
        Some(parts) => parts.iter().collect(),
        None => vec![schema],
    };
    html! {
        section id={ "schema-" (name) } {
            h3 { (name) }
            p { (schema["description"].as_str().unwrap_or_default()) }
            @for part in parts {
                @if let Some(fields) = part["properties"].as_object() {
                    table {
                        tr { th { "Field" } th { "Type" } th { "Meaning" } }
                        @for (field, schema) in fields {
                            tr {
                                td { code { (field) } @if is_needed(field) { " (always)" } }
                                td { (kind(schema)) }
                                td { (schema["description"].as_str().unwrap_or_default()) }
                            }
                        }
                    }
                } @else {
                    p { (kind(part)) }
                }
            }
        }
    }
}

/// What a value is, in a few words; objects are linked.
fn kind(schema: &Value) -> Markup {
    if let Some(name) = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
        return html! { a href={ "#schema-" (name) } { (name) } };
    }
    for (field, word) in [("oneOf", " or "), ("anyOf", " or "), ("allOf", " and ")] {
        if let Some(choices) = schema[field].as_array() {
            return html! {
                @for (index, choice) in choices.iter().enumerate() {
                    @if 0 < index { (word) }
                    (kind(choice))
                }
            };
        }
    }
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        return html! { (words.join(", ")) };
    }
    let types = match &schema["type"] {
        Value::Array(types) => types
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(" or "),
        other => other.as_str().unwrap_or("anything").to_owned(),
    };
    html! {
        (types)
        @if !schema["items"].is_null() { " of " (kind(&schema["items"])) }
        @if let Some(format) = schema["format"].as_str() { " (" (format) ")" }
    }
}
