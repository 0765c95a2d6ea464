//! The statistics page and the monitor.

use super::acl::{self, PHASE_CONTENT};
use super::context::{Context, Line};
use super::keywords::not_served;
use super::model::{StatsAuth, StatsPage};
use super::proxy::{Kind, Proxy};

pub(super) fn monitor_uri(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    proxy.front.monitor_uri = context.needed(line, 1, "a path");
}

pub(super) fn monitor_fail(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    if line.word(1) != "fail" {
        return context.alert(line, 1, "expected `monitor fail`");
    }
    if line.len() < 4 {
        return context.alert(line, 2, "needs a condition, if or unless");
    }
    if let Some(Some(condition)) = acl::condition(context, proxy, line, 2, PHASE_CONTENT) {
        proxy.front.monitor_fail.push(condition);
    }
}

/// Most users of one page.
const USERS_MAX: usize = 1000;

pub(super) fn directive(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    context.used(&line.key(), line.at(0), &proxy.name);
    let mut page =
        proxy.stats.clone().unwrap_or_else(|| StatsPage { uri: "/haproxy?stats".into(), ..StatsPage::default() });
    match line.word(1) {
        "enable" => {}
        "uri" => match context.needed(line, 2, "a path") {
            Some(uri) => page.uri = uri,
            None => return,
        },
        "realm" => page.realm = context.needed(line, 2, "a text"),
        "auth" => {
            let Some(text) = context.needed(line, 2, "user:password") else { return };
            let (user, password) = text.split_once(':').unwrap_or((&text, ""));
            if page.auth.len() < USERS_MAX {
                page.auth.push(StatsAuth { user: user.to_owned(), password: password.to_owned() });
            }
        }
        "refresh" => page.refresh = context.time_in(line, 2, 1000),
        "scope" => page.scope.extend(context.needed(line, 2, "the name of a proxy")),
        "hide-version" => page.hide_version = true,
        "show-legends" | "show-modules" => page.show_legends = true,
        "show-node" => page.show_node = Some(line.word(2).to_owned()),
        "show-desc" => page.show_desc = Some(line.rest(2)),
        "admin" if proxy.kind == Kind::Defaults => {
            return context.alert(line, 1, "may not stand in a `defaults` section");
        }
        "admin" => match acl::condition(context, proxy, line, 2, PHASE_CONTENT) {
            Some(Some(condition)) => page.admin.push(condition),
            Some(None) => return context.alert(line, 2, "needs a condition, if or unless"),
            None => return,
        },
        "http-request" if proxy.kind == Kind::Defaults => {
            return context.alert(line, 1, "may not stand in a `defaults` section");
        }
        "http-request" => {
            return context.refuse(line, 1, not_served("who sees the page is said by `stats auth`"));
        }
        other => {
            let text = format!("`{other}` is not known here, expected enable, uri, auth, refresh, realm or admin");
            return context.alert(line, 1, text);
        }
    }
    proxy.stats = Some(page);
}
