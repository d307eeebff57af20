//! The paths of the API. Each is a few lines: what was asked, in the master's words, and its answer.

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use windlass_core::text::chain;
use windlass_master::{
    DebugError, ForceError, Handle, ListError, LogError, PollError, QueryError, ReconfigError, ReleaseError,
    StopError, TokenError, WithdrawError, view,
};

use crate::artifacts;
use crate::error::ApiError;

/// How much of a log one answer carries at most, in bytes.
const LOG_CHUNK: usize = 256 * 1024;

/// What each path has at hand.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) master: Handle,
    stop: CancellationToken,
}

impl Api {
    /// Looks something up in the store, off the async threads: it may decode a lot, or wait for the disk.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Handle) -> T + Send + 'static,
    ) -> T {
        let master = self.master.clone();
        match tokio::task::spawn_blocking(move || look(&master)).await {
            Ok(found) => found,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// All paths, below `/api/v1`.
pub fn routes(master: Handle, stop: CancellationToken) -> Router {
    let v1 = Router::new()
        .route("/status", get(status))
        .route("/builds", get(builds))
        .route("/builds/{build}", get(build))
        .route("/builds/{build}/stop", post(stop_build))
        .route("/builds/{build}/tests", get(tests))
        .route("/builders/{builder}/statistics", get(statistics))
        .route("/builds/{build}/steps/{step}/logs/{log}", get(log))
        .route("/builds/{build}/artifacts", get(artifacts::list))
        .route("/builds/{build}/artifacts/{*name}", get(artifacts::fetch))
        .route("/buildsets/{buildset}", get(buildset))
        .route("/workers/{worker}/release", post(release_worker))
        .route("/workers/{worker}/tokens", get(tokens_of_worker).post(mint_token))
        .route("/workers/{worker}/revoke", post(revoke_tokens))
        .route("/tokens", get(tokens))
        .route("/requests", get(requests))
        .route("/requests/{request}/cancel", post(cancel_request))
        .route("/requests/{request}/why", get(why_request))
        .route("/builds/{build}/why", get(why_build))
        .route("/changes", get(changes))
        .route("/users", get(users))
        .route("/users/{user}", get(user))
        .route("/plugins", get(plugins))
        .route("/plugins/stats", get(plugin_stats))
        .route("/events", get(events))
        .route("/force", post(force))
        .route("/poll", post(poll))
        .route("/debug", post(debug))
        .route("/reconfig", post(reconfig));
    Router::new().nest("/api/v1", v1).fallback(unknown).with_state(Api { master, stop })
}

async fn unknown(uri: axum::http::Uri) -> ApiError {
    ApiError::not_found(format_args!("path {}", uri.path()))
}

async fn status(State(api): State<Api>) -> Json<view::Status> {
    Json(api.master.status_now().await)
}

async fn builds(
    State(api): State<Api>,
    Query(filter): Query<view::BuildFilter>,
) -> Result<Json<Vec<view::Build>>, ApiError> {
    Ok(Json(api.look(move |master| master.builds(&filter)).await?))
}

async fn build(State(api): State<Api>, Path(build): Path<u64>) -> Result<Json<view::BuildDetail>, ApiError> {
    let found = api.look(move |master| master.build(build)).await?;
    found.map(Json).ok_or_else(|| ApiError::not_found(format_args!("build {build}")))
}

async fn tests(
    State(api): State<Api>,
    Path(build): Path<u64>,
    Query(query): Query<view::TestQuery>,
) -> Result<Json<view::Tests>, ApiError> {
    Ok(Json(api.look(move |master| master.tests(build, &query)).await?))
}

async fn statistics(
    State(api): State<Api>,
    Path(builder): Path<String>,
    Query(query): Query<view::FigureQuery>,
) -> Result<Json<Vec<view::Figure>>, ApiError> {
    Ok(Json(api.look(move |master| master.figures(&builder, &query)).await?))
}

/// Why a build, or one step of it, is to be stopped.
#[derive(Deserialize)]
struct Stop {
    reason: String,
    step: Option<String>,
}

async fn stop_build(
    State(api): State<Api>,
    Path(build): Path<u64>,
    body: Bytes,
) -> Result<Json<serde_json::Value>, ApiError> {
    let Stop { reason, step } = read(&body)?;
    match step {
        Some(step) => api.master.stop_step(build, &step, &reason).await?,
        None => api.master.stop_build(build, &reason).await?,
    }
    Ok(Json(serde_json::json!({})))
}

/// Which part of a log.
#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    offset: u64,
    /// Waits until there is more.
    #[serde(default)]
    follow: bool,
    /// From this line on, counted from 0.
    first: Option<u64>,
    /// So many lines.
    lines: Option<u64>,
    /// The last so many lines.
    tail: Option<u64>,
}

async fn log(
    State(api): State<Api>,
    Path((build, step, log)): Path<(u64, String, String)>,
    Query(part): Query<Part>,
) -> Result<Json<view::LogChunk>, ApiError> {
    let window = match (part.first, part.tail, part.lines) {
        (Some(first), _, _) => Some(view::Window::From(first)),
        (None, Some(tail), _) => Some(view::Window::Last(tail)),
        (None, None, lines) => lines.map(|_| view::Window::From(0)),
    };
    if let Some(window) = window {
        let lines = part.lines.unwrap_or(u64::MAX);
        let read = move |master: &Handle| master.read_log_lines(build, &step, &log, window, lines, LOG_CHUNK);
        return Ok(Json(api.look(read).await?));
    }
    if !part.follow {
        let read = move |master: &Handle| master.read_log(build, &step, &log, part.offset, LOG_CHUNK);
        return Ok(Json(api.look(read).await?));
    }
    tokio::select! {
        chunk = api.master.follow_log(build, &step, &log, part.offset, LOG_CHUNK) => Ok(Json(chunk?)),
        () = api.stop.cancelled() => Err(ApiError::new("shutting-down", "the master is shutting down")),
    }
}

async fn buildset(State(api): State<Api>, Path(id): Path<u64>) -> Result<Json<view::Buildset>, ApiError> {
    let found = api.look(move |master| master.buildset(id)).await?;
    found.map(Json).ok_or_else(|| ApiError::not_found(format_args!("buildset {id}")))
}

async fn release_worker(
    State(api): State<Api>,
    Path(worker): Path<String>,
) -> Result<Json<view::Released>, ApiError> {
    Ok(Json(api.master.release_worker(&worker).await?))
}

async fn tokens(State(api): State<Api>) -> Result<Json<Vec<view::WorkerToken>>, ApiError> {
    Ok(Json(api.master.worker_tokens(None)?))
}

async fn tokens_of_worker(
    State(api): State<Api>,
    Path(worker): Path<String>,
) -> Result<Json<Vec<view::WorkerToken>>, ApiError> {
    Ok(Json(api.master.worker_tokens(Some(&worker))?))
}

async fn mint_token(
    State(api): State<Api>,
    Path(worker): Path<String>,
    body: Bytes,
) -> Result<Json<view::WorkerToken>, ApiError> {
    let view::NewToken { token_hash } = read(&body)?;
    Ok(Json(api.master.mint_token(worker, token_hash).await?))
}

async fn revoke_tokens(
    State(api): State<Api>,
    Path(worker): Path<String>,
    body: Bytes,
) -> Result<Json<view::RevokedTokens>, ApiError> {
    let view::RevokeTokens { number } = read(&body)?;
    Ok(Json(api.master.revoke_tokens(worker, number).await?))
}

async fn requests(
    State(api): State<Api>,
    Query(filter): Query<view::RequestFilter>,
) -> Result<Json<view::RequestPage>, ApiError> {
    Ok(Json(api.master.requests(filter).await?))
}

async fn cancel_request(
    State(api): State<Api>,
    Path(request): Path<u64>,
) -> Result<Json<serde_json::Value>, ApiError> {
    api.master.withdraw(request).await?;
    Ok(Json(serde_json::json!({})))
}

/// Whether recorded components are asked again.
#[derive(Deserialize)]
struct Again {
    #[serde(default)]
    verify: bool,
}

async fn why_request(
    State(api): State<Api>,
    Path(request): Path<u64>,
    Query(again): Query<Again>,
) -> Result<Json<view::Why>, ApiError> {
    let why = api.master.why_request(request, again.verify).await?;
    why.map(Json).ok_or_else(|| ApiError::not_found(format_args!("request {request}")))
}

async fn why_build(
    State(api): State<Api>,
    Path(build): Path<u64>,
    Query(again): Query<Again>,
) -> Result<Json<view::Why>, ApiError> {
    let why = api.master.why_build(build, again.verify).await?;
    why.map(Json).ok_or_else(|| ApiError::not_found(format_args!("build {build}")))
}

/// How many.
#[derive(Deserialize)]
struct Limit {
    limit: Option<usize>,
}

async fn changes(
    State(api): State<Api>,
    Query(Limit { limit }): Query<Limit>,
) -> Result<Json<Vec<view::Change>>, ApiError> {
    Ok(Json(api.look(move |master| master.changes(limit.unwrap_or(50).min(1_000))).await?))
}

async fn users(State(api): State<Api>) -> Result<Json<Vec<view::User>>, ApiError> {
    Ok(Json(api.look(|master| master.users(None)).await?))
}

async fn user(State(api): State<Api>, Path(user): Path<String>) -> Result<Json<view::User>, ApiError> {
    let name = user.clone();
    let found = api.look(move |master| master.users(Some(&name))).await?;
    let missing = || ApiError::not_found(format_args!("user `{user}`"));
    found.into_iter().next().map(Json).ok_or_else(missing)
}

async fn plugins(State(api): State<Api>) -> Result<Json<Vec<view::Plugin>>, ApiError> {
    Ok(Json(api.look(Handle::plugins).await?))
}

async fn plugin_stats(State(api): State<Api>) -> Result<Json<Vec<view::PluginStats>>, ApiError> {
    Ok(Json(api.look(Handle::plugin_stats).await?))
}

/// What happens from now on, a JSON line each; an empty line every 15 s shows that the master lives.
async fn events(State(api): State<Api>) -> Response {
    let listener = api.master.subscribe();
    let lines = stream::unfold((listener, api.stop), |(mut listener, stop)| async move {
        let line = tokio::select! {
            event = listener.next() => line(&event?),
            () = tokio::time::sleep(std::time::Duration::from_secs(15)) => "\n".to_owned(),
            () = stop.cancelled() => return None,
        };
        Some((Ok::<_, std::convert::Infallible>(line), (listener, stop)))
    });
    // The first, empty line tells the client that it listens: what it asks for next cannot be missed.
    let ready = stream::once(async { Ok("\n".to_owned()) });
    let body = Body::from_stream(futures_util::StreamExt::chain(ready, lines));
    ([("content-type", "application/x-ndjson")], body).into_response()
}

fn line(event: &impl Serialize) -> String {
    serde_json::to_string(event).expect("events are JSON") + "\n"
}

async fn force(State(api): State<Api>, body: Bytes) -> Result<Json<view::Forced>, ApiError> {
    Ok(Json(api.master.force(read(&body)?).await?))
}

/// Which poller; none: all.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Poll {
    poller: Option<String>,
}

async fn poll(State(api): State<Api>, body: Bytes) -> Result<Json<Vec<view::Polled>>, ApiError> {
    let names = match read::<Poll>(&body)?.poller {
        Some(one) => vec![one],
        None => api.master.status().pollers.into_iter().map(|p| p.name).collect(),
    };
    let mut polled = Vec::new();
    for name in names {
        polled.push(api.master.poll_now(&name).await?);
    }
    Ok(Json(polled))
}

async fn debug(State(api): State<Api>, body: Bytes) -> Result<Json<serde_json::Value>, ApiError> {
    Ok(Json(api.master.debug(read(&body)?).await?))
}

/// Whether only to show what would change.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Reconfig {
    plan: bool,
}

async fn reconfig(State(api): State<Api>, body: Bytes) -> Result<Json<view::Reconfigured>, ApiError> {
    Ok(Json(api.master.reconfig(read::<Reconfig>(&body)?.plan).await?))
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body)
        .map_err(|e| ApiError::new("bad-argument", format!("the body cannot be read: {e}")))
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> ApiError {
        ApiError::new("internal", chain(&error))
    }
}

impl From<LogError> for ApiError {
    fn from(error: LogError) -> ApiError {
        match error {
            LogError::NotFound(what) => ApiError::new("not-found", what),
            LogError::Query(e) => e.into(),
        }
    }
}

impl From<StopError> for ApiError {
    fn from(error: StopError) -> ApiError {
        ApiError::new("not-found", chain(&error))
    }
}

impl From<ReleaseError> for ApiError {
    fn from(error: ReleaseError) -> ApiError {
        let code = match &error {
            ReleaseError::NoSuchWorker { .. } => "not-found",
            ReleaseError::ShuttingDown => "shutting-down",
        };
        ApiError::new(code, chain(&error))
    }
}

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> ApiError {
        let code = match &error {
            TokenError::NoSuchWorker { .. } | TokenError::NoSuchToken { .. } => "not-found",
            TokenError::NotAHash | TokenError::Known(_) | TokenError::TooMany(_) => "bad-argument",
            TokenError::ShuttingDown => "shutting-down",
            TokenError::Store(_) | TokenError::NotForgotten(_) => "internal",
        };
        ApiError::new(code, chain(&error))
    }
}

impl From<ListError> for ApiError {
    fn from(error: ListError) -> ApiError {
        let code = match &error {
            ListError::BadCursor(_) => "bad-argument",
            ListError::Read(_) => "internal",
        };
        ApiError::new(code, chain(&error))
    }
}

impl From<WithdrawError> for ApiError {
    fn from(error: WithdrawError) -> ApiError {
        let code = match &error {
            WithdrawError::NotFound(_) | WithdrawError::Complete(..) => "not-found",
            WithdrawError::Building { .. } | WithdrawError::Starting(_) => "busy",
            WithdrawError::ShuttingDown => "shutting-down",
            WithdrawError::Read(_) | WithdrawError::Store(_) => "internal",
        };
        ApiError::new(code, chain(&error))
    }
}

impl From<ForceError> for ApiError {
    fn from(error: ForceError) -> ApiError {
        let code = match &error {
            ForceError::NoSuchBuilder { .. } => "not-found",
            ForceError::WhichRepository { .. }
            | ForceError::BadProperty { .. }
            | ForceError::Invalid { .. }
            | ForceError::BadPatch(_) => "bad-argument",
            ForceError::ShuttingDown => "shutting-down",
            ForceError::Store(_) => "internal",
        };
        ApiError::new(code, chain(&error))
    }
}

impl From<PollError> for ApiError {
    fn from(error: PollError) -> ApiError {
        let code = match &error {
            PollError::NoSuchPoller(_) => "not-found",
            PollError::Failed { .. } => "internal",
            PollError::ShuttingDown => "shutting-down",
        };
        ApiError::new(code, chain(&error))
    }
}

impl From<DebugError> for ApiError {
    fn from(error: DebugError) -> ApiError {
        let code = match error {
            DebugError::Poll(error) => return error.into(),
            DebugError::Off | DebugError::Wrong(_) | DebugError::TooSoon(_) | DebugError::ReadOnly => {
                "denied"
            }
            DebugError::NotFound(_) => "not-found",
            DebugError::Unanswered(_) => "busy",
            DebugError::ShuttingDown => "shutting-down",
            DebugError::Read(_) => "internal",
        };
        ApiError::new(code, chain(&error))
    }
}

impl From<ReconfigError> for ApiError {
    fn from(error: ReconfigError) -> ApiError {
        let code = match &error {
            ReconfigError::Busy => "busy",
            ReconfigError::ShuttingDown => "shutting-down",
            ReconfigError::Store(_) => "internal",
            ReconfigError::Refused(_) => "needs-restart",
            ReconfigError::Read { .. } | ReconfigError::Invalid(_) => "refused",
        };
        ApiError {
            details: error.details(),
            diagnostics: error.diagnostics(),
            ..ApiError::new(code, chain(&error))
        }
    }
}
