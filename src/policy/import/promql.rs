//! The alerting expressions that can be imported: a threshold on requests.
//!
//! ```text
//! threshold := measure (">" | ">=" | "<" | "<=" | "==") NUMBER
//! measure   := rates "/" rates ["*" "100"]                      the share of requests that fail
//!            | "histogram_quantile" "(" NUMBER "," rates ")"    a latency
//!            | rates                                            requests a second
//! rates     := "sum" ["by" "(" … ")"] "(" rates ")" ["by" "(" … ")"]
//!            | ("rate" | "irate" | "increase") "(" METRIC ["{" … "}"] "[" DURATION "]" ")"
//! ```
//! A metric counts requests if `request`, `http` or `grpc` is in its name. Labels may select one service (`service`, `job`
//! or `app`, with `=`) and failed requests (`code`, `status` or `status_code`, with `=~"5…"`). The signs are those of
//! something that is wrong: more failures, higher latencies, fewer requests.

use crate::policy::fields::parse_duration;

/// What is wrong with an expression: after so many characters, what, and what to write instead.
pub type Wrong = (usize, String, &'static str);

/// A threshold on requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// What is measured.
    pub of: Measure,
    /// Of which service; of any if it is not said.
    pub service: Option<String>,
    /// Over so long, µs.
    pub window_us: i64,
    /// What it is compared with: a share, µs, or requests a second.
    pub limit: f64,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The share of requests that fail.
    Errors,
    /// A quantile of the latency.
    Latency,
    /// Requests a second.
    Rate,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Number(String),
    Text(String),
    Sign(&'static str),
}

const SIGNS: [&str; 20] =
    [">=", "<=", "==", "!=", "=~", "!~", ">", "<", "=", "(", ")", "{", "}", "[", "]", ",", "/", "*", "+", "-"];

const FORMS: &str = "write a threshold on a share of failed requests, on histogram_quantile or on a rate of requests";

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Wrong> {
    let letters = text.chars().collect::<Vec<_>>();
    let (mut tokens, mut at) = (Vec::new(), 0);
    let take = |from: usize, belongs: &dyn Fn(char) -> bool| {
        letters[from..].iter().take_while(|letter| belongs(**letter)).collect::<String>()
    };
    while let Some(&letter) = letters.get(at) {
        let rest = || letters[at..].iter().take(2).collect::<String>();
        let (token, length) = if letter.is_whitespace() {
            at += 1;
            continue;
        } else if letter.is_ascii_alphabetic() || letter == '_' {
            let word = take(at, &|it| it.is_ascii_alphanumeric() || it == '_' || it == ':');
            let length = word.len();
            (Token::Word(word), length)
        } else if letter.is_ascii_digit() || letter == '.' {
            let number = take(at, &|it| it.is_ascii_alphanumeric() || it == '.');
            let length = number.len();
            (Token::Number(number), length)
        } else if letter == '"' || letter == '\'' {
            let text = take(at + 1, &|it| it != letter);
            let length = text.chars().count() + 2;
            if letters.get(at + length - 1) != Some(&letter) {
                return Err((at, "a text that does not end".to_owned(), "close the quotes"));
            }
            (Token::Text(text), length)
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest().starts_with(**sign)) {
            (Token::Sign(sign), sign.len())
        } else {
            return Err((at, format!("`{letter}` cannot be imported"), FORMS));
        };
        tokens.push((at, token));
        at += length;
    }
    Ok(tokens)
}

/// Counts of requests.
struct Rates {
    at: usize,
    service: Option<String>,
    is_failed: bool,
    /// What a second of its buckets is, µs, if it has buckets.
    unit_us: Option<i64>,
    window_us: i64,
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    end: usize,
}

/// Reads an expression.
///
/// # Errors
/// Names what cannot be imported, and where it stands.
pub fn threshold(text: &str) -> Result<Threshold, Wrong> {
    let mut parser = Parser { tokens: tokens(text)?, next: 0, end: text.chars().count() };
    let found = parser.threshold()?;
    match parser.tokens.get(parser.next) {
        None => Ok(found),
        Some((at, token)) => Err((*at, format!("`{}` after a threshold cannot be imported", token.words()), FORMS)),
    }
}

impl Token {
    fn words(&self) -> &str {
        match self {
            Self::Word(text) | Self::Number(text) | Self::Text(text) => text,
            Self::Sign(sign) => sign,
        }
    }
}

impl Parser {
    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |(at, _)| *at)
    }

    fn fail<T>(&self, instead_of: &str) -> Result<T, Wrong> {
        let found = self.tokens.get(self.next).map_or("the end", |(_, token)| token.words());
        Err((self.at(), format!("`{found}` stands where {instead_of} is expected"), FORMS))
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.tokens.get(self.next), Some((_, Token::Sign(it))) if *it == sign)
    }

    fn take(&mut self, sign: &'static str) -> Result<(), Wrong> {
        if !self.is(sign) {
            return self.fail(&format!("`{sign}`"));
        }
        self.next += 1;
        Ok(())
    }

    fn word(&mut self) -> Result<String, Wrong> {
        let Some((_, Token::Word(word))) = self.tokens.get(self.next) else { return self.fail("a name") };
        self.next += 1;
        Ok(word.clone())
    }

    fn number(&mut self) -> Result<f64, Wrong> {
        let Some((_, Token::Number(text))) = self.tokens.get(self.next) else { return self.fail("a number") };
        let Ok(number) = text.parse::<f64>() else { return self.fail("a number") };
        self.next += 1;
        Ok(number)
    }

    fn threshold(&mut self) -> Result<Threshold, Wrong> {
        let start = self.at();
        let is_quantile = matches!(self.tokens.first(), Some((_, Token::Word(word))) if word == "histogram_quantile");
        let (of, rates, scale) = if is_quantile {
            self.next += 1;
            self.take("(")?;
            self.number()?;
            self.take(",")?;
            let rates = self.rates()?;
            self.take(")")?;
            let Some(unit_us) = rates.unit_us else {
                let what = "the metric has no buckets".to_owned();
                return Err((rates.at, what, "write one that ends with _bucket"));
            };
            (Measure::Latency, rates, unit_us as f64)
        } else {
            let rates = self.rates()?;
            if self.is("/") { self.share(rates)? } else { (Measure::Rate, rates, 1.0) }
        };
        let wanted: &[&str] = if of == Measure::Rate { &["<", "<=", "=="] } else { &[">", ">="] };
        if !wanted.iter().any(|sign| self.is(sign)) {
            return self.fail(&wanted.join(" or "));
        }
        if of == Measure::Rate && rates.is_failed {
            return Err((start, "failed requests a second".to_owned(), "divide them by all requests"));
        }
        self.next += 1;
        let limit = self.number()? * scale;
        let Rates { service, window_us, .. } = rates;
        Ok(Threshold { of, service, window_us, limit })
    }

    /// The other half of a share of requests that fail.
    fn share(&mut self, failed: Rates) -> Result<(Measure, Rates, f64), Wrong> {
        self.take("/")?;
        let all = self.rates()?;
        if !failed.is_failed {
            let what = "this does not select failed requests".to_owned();
            return Err((failed.at, what, "select them by `code=~\"5..\"`, or status, status_code"));
        }
        if all.is_failed || all.service != failed.service {
            return Err((all.at, "these are not all requests of the same".to_owned(), "select the service alone"));
        }
        let mut scale = 1.0;
        if self.is("*") {
            self.next += 1;
            if self.number()? != 100.0 {
                self.next -= 1;
                return self.fail("100");
            }
            scale = 0.01;
        }
        Ok((Measure::Errors, failed, scale))
    }

    fn rates(&mut self) -> Result<Rates, Wrong> {
        let (start, name) = (self.at(), self.word()?);
        match name.as_str() {
            "sum" => {
                self.grouping()?;
                self.take("(")?;
                let rates = self.rates()?;
                self.take(")")?;
                self.grouping()?;
                Ok(rates)
            }
            "rate" | "irate" | "increase" => {
                self.take("(")?;
                let rates = self.selected()?;
                self.take(")")?;
                Ok(rates)
            }
            _ => Err((start, format!("`{name}` cannot be imported"), FORMS)),
        }
    }

    fn grouping(&mut self) -> Result<(), Wrong> {
        if !matches!(self.tokens.get(self.next), Some((_, Token::Word(word))) if word == "by" || word == "without") {
            return Ok(());
        }
        self.next += 1;
        self.take("(")?;
        while !self.is(")") {
            self.word()?;
            if !self.is(")") {
                self.take(",")?;
            }
        }
        self.take(")")
    }

    fn selected(&mut self) -> Result<Rates, Wrong> {
        let (at, metric) = (self.at(), self.word()?);
        if !["request", "http", "grpc"].iter().any(|part| metric.contains(part)) {
            return Err((at, format!("`{metric}` counts no requests"), FORMS));
        }
        let unit_us = metric.strip_suffix("_bucket").map(|name| {
            let is_ms = name.ends_with("_ms") || name.ends_with("_milliseconds");
            if is_ms { 1_000 } else { 1_000_000 }
        });
        let is_failed = metric.contains("error") || metric.contains("fail");
        let mut rates = Rates { at, service: None, is_failed, unit_us, window_us: 0 };
        if self.is("{") {
            self.next += 1;
            while !self.is("}") {
                self.label(&mut rates)?;
                if !self.is("}") {
                    self.take(",")?;
                }
            }
            self.next += 1;
        }
        self.take("[")?;
        let Some((_, Token::Number(window))) = self.tokens.get(self.next) else { return self.fail("a duration") };
        let Some(window_us) = parse_duration(window) else { return self.fail("a duration, as 5m,") };
        rates.window_us = window_us;
        self.next += 1;
        self.take("]")?;
        Ok(rates)
    }

    fn label(&mut self, rates: &mut Rates) -> Result<(), Wrong> {
        let (at, name) = (self.at(), self.word()?);
        let sign = match self.tokens.get(self.next) {
            Some((_, Token::Sign(sign))) => *sign,
            _ => return self.fail("`=`"),
        };
        self.next += 1;
        let Some((_, Token::Text(value))) = self.tokens.get(self.next) else { return self.fail("a text in quotes") };
        let value = value.clone();
        self.next += 1;
        match (name.as_str(), sign) {
            ("service" | "job" | "app", "=") if rates.service.is_none() => rates.service = Some(value),
            ("code" | "status" | "status_code", "=~" | "=") if value.starts_with('5') => rates.is_failed = true,
            _ => {
                let what = format!("a selection by `{name}{sign}\"{value}\"` cannot be imported");
                return Err((at, what, "select one service, or failed requests by `code=~\"5..\"`"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_on_requests_are_understood() {
        let errors = "sum(rate(http_requests_total{job=\"pay\",code=~\"5..\"}[5m])) / sum(rate(http_requests_total{job=\"pay\"}[5m]))";
        for (text, of, service, limit) in [
            (format!("{errors} > 0.05"), Measure::Errors, Some("pay"), 0.05),
            (format!("{errors} * 100 >= 5"), Measure::Errors, Some("pay"), 0.05),
            (
                "histogram_quantile(0.99, sum(rate(http_request_duration_seconds_bucket[5m])) by (le, job)) > 0.5"
                    .to_owned(),
                Measure::Latency,
                None,
                500_000.0,
            ),
            (
                "sum by (app) (rate(grpc_server_handled_total{app='a'}[1m])) == 0".to_owned(),
                Measure::Rate,
                Some("a"),
                0.0,
            ),
        ] {
            let found = threshold(&text).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"));
            assert_eq!((found.of, found.service.as_deref()), (of, service), "{text}");
            assert!((found.limit - limit).abs() < 1e-9, "{text}: {found:?}");
        }
    }

    #[test]
    fn everything_else_is_named() {
        for (text, after, word) in [
            ("up == 0", 0, "up"),
            ("predict_linear(node_filesystem_free_bytes[6h], 4*3600) < 0", 0, "predict_linear"),
            ("rate(node_cpu_seconds_total[5m]) > 0.9", 5, "node_cpu_seconds_total"),
            ("rate(http_requests_total[5m]) > 100", 30, ">"),
            ("rate(http_requests_total{handler=\"/pay\"}[5m]) < 1", 25, "handler"),
            ("rate(http_requests_total[5m]) < 1 and on() vector(1)", 34, "and"),
            ("rate(http_requests_total{code=~\"5..\"}[5m]) < 1", 0, "failed"),
            ("rate(http_requests_total[5m]) / rate(http_requests_total[5m]) > 1", 5, "select"),
            ("histogram_quantile(0.9, rate(http_requests_total[5m])) > 1", 29, "buckets"),
            ("rate(http_requests_total[5m) < 1", 27, ")"),
            ("rate(http_requests_total{job=\"a}[5m]) < 1", 29, "end"),
            ("", 0, "the end"),
        ] {
            let (at, what, _) = threshold(text).expect_err(text);
            assert!(at == after && what.contains(word), "{text}: {at} {what}");
        }
    }
}
