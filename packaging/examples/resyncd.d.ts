// The socket protocol of resyncd, version 1, as types. One request a line, one reply a line; see protocol.md.
//
//   import type { RecordRequest, Reply } from "./resyncd";
//   const reply: Reply<"record"> = JSON.parse(line);
//   if (reply.ok) { … reply.id … } else { … reply.error.code … }
//
// Names may also be written in camelCase in requests; these types have the other spelling, and replies always do.
// Replies may get more names in later versions.

/** Any JSON value. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };
/** RFC 3339, in UTC with milliseconds: `2026-11-24T06:12:34.123Z`. */
export type Time = string;
/** A string is an id, exactly. A number, or a string of `#` and digits, is a sequence number. */
export type FailureName = string | number;

export type Status = "pending" | "held" | "critical";
/** `blocked`: an older failure of the same order has to leave first. */
export type State = "due" | "scheduled" | "blocked" | "in_flight" | "held" | "critical";
export type PayloadKind = "json" | "text" | "bytes";
export type Class =
  | "delivered" | "unreachable" | "throttled" | "busy" | "unsure" | "misconfigured" | "refused" | "failed";
export type ErrorCode =
  | "bad_json" | "bad_request" | "line_too_long" | "unknown_op" | "forbidden" | "not_found" | "conflict" | "busy"
  | "full" | "disk_full" | "storage" | "shutting_down";

// ---- requests of applications

interface Referred {
  /** Comes back in the reply. */
  readonly ref?: Json;
}

export interface HelloRequest extends Referred { readonly op: "hello" }

interface Recorded extends Referred {
  readonly op: "record";
  /** 1 to 64 characters: `SALE`, `Sales Invoice`. */
  readonly entity_type: string;
  readonly entity_id: string | number;
  readonly action: string;
  /** What your own attempt got; 0 for no response. */
  readonly http_status?: number | null;
  /** Your own key of this request; the same key again is the same failure. */
  readonly idempotency_key?: string | null;
  /** Failures with the same one are delivered in the order of recording. Default: the entity. */
  readonly order_key?: string | null;
  readonly payload_kind?: PayloadKind | null;
  /** The server-side table has these two; a new failure has no retries. */
  readonly retry_count?: 0 | null;
  readonly last_retry_at?: null;
}
type WithPayload =
  | { readonly payload?: Json; readonly payload_base64?: null }
  | { readonly payload?: null; readonly payload_base64: string };
type WithError =
  | { readonly error: string; readonly retry?: "auto" | "now" | null }
  | { readonly error?: null; readonly retry: "now" };
/** `error` may be left out with `retry: "now"`, when your application has not tried at all. */
export type RecordRequest = Recorded & WithPayload & WithError;

export interface GetRequest extends Referred {
  readonly op: "get";
  readonly id: FailureName;
  readonly prefix?: boolean | null;
}
export interface UnsentRequest extends Referred { readonly op: "unsent" }
export interface HealthRequest extends Referred { readonly op: "health" }

// ---- requests of administrators

export interface Filter {
  readonly status?: Status | null;
  readonly entity_type?: string | null;
  readonly entity_id?: string | null;
  readonly order_key?: string | null;
  readonly action?: string | null;
  readonly upstream?: string | null;
  readonly error_class?: string | null;
  readonly since?: string | null;
  readonly until?: string | null;
}
interface Signed extends Referred {
  /** For the audit. */
  readonly reason?: string | null;
  readonly by?: string | null;
}
type Selected =
  | { readonly ids: readonly FailureName[] }
  | { readonly filter: Filter }
  | { readonly all: true };
interface Many extends Signed { readonly dry_run?: boolean | null }

export interface ListRequest extends Filter, Referred {
  readonly op: "list";
  readonly limit?: number | null;
  readonly after?: string | null;
  readonly order?: "asc" | "desc" | null;
  readonly payload?: boolean | null;
  readonly total?: boolean | null;
}
export interface HistoryRequest extends Referred {
  readonly op: "history";
  readonly id?: FailureName | null;
  readonly prefix?: boolean | null;
  readonly removed?: boolean | null;
  readonly entity_type?: string | null;
  readonly entity_id?: string | number | null;
  readonly since?: string | null;
  readonly limit?: number | null;
  readonly after?: string | null;
  readonly order?: "asc" | "desc" | null;
}
export interface SinceRequest<Op extends "stats" | "series" | "digest"> extends Referred {
  readonly op: Op;
  readonly since?: string | null;
}
export interface PlainRequest<Op extends "alerts" | "metrics"> extends Referred { readonly op: Op }
export type RetryRequest = Many & Selected & { readonly op: "retry"; readonly reset?: boolean | null };
export type HoldRequest = Many & Selected & { readonly op: "hold" };
export type ReleaseRequest = Many & Selected & { readonly op: "release" };
export type DiscardRequest = Many & Selected & {
  readonly op: "discard";
  /** Needed, unless it is a dry run. */
  readonly reason?: string | null;
  readonly let_followers?: boolean | null;
};
export type EditRequest = Signed & WithPayload & {
  readonly op: "edit";
  readonly id: FailureName;
  readonly payload_kind?: PayloadKind | null;
  readonly entity_type?: string | null;
  readonly entity_id?: string | number | null;
  readonly action?: string | null;
  readonly new_key?: boolean | null;
};
export interface GateRequest<Op extends "flush" | "pause" | "resume"> extends Signed {
  readonly op: Op;
  /** Default: all. */
  readonly upstream?: string | null;
}
export interface CleanupRequest extends Many { readonly op: "cleanup" }
export interface ImportRequest extends Signed {
  readonly op: "import";
  readonly row: {
    readonly id: string | number;
    readonly entity_type: string;
    readonly entity_id: string | number;
    readonly action: string;
    readonly error: string;
    readonly [name: string]: Json;
  };
  readonly force?: boolean | null;
  readonly keep_age?: boolean | null;
}
export interface ReloadRequest extends Signed { readonly op: "reload" }

/** What an application may ask. */
export type AppRequest = HelloRequest | RecordRequest | GetRequest | UnsentRequest | HealthRequest;
/** What may be asked on the admin socket. */
export type Request =
  | AppRequest | ListRequest | HistoryRequest | SinceRequest<"stats"> | SinceRequest<"series"> | SinceRequest<"digest">
  | PlainRequest<"alerts"> | PlainRequest<"metrics"> | RetryRequest | HoldRequest | ReleaseRequest | DiscardRequest
  | EditRequest | GateRequest<"flush"> | GateRequest<"pause"> | GateRequest<"resume"> | CleanupRequest | ImportRequest
  | ReloadRequest;

// ---- replies

export interface RetryAfter { until: Time; upstream: string | null; words: string }

export interface Failure {
  id: string;
  seq: number;
  entity_type: string;
  entity_id: string;
  order_key: string | null;
  action: string;
  error: string;
  payload_kind: PayloadKind | null;
  status: Status;
  state: State;
  retry_count: number;
  /** All attempts so far, counted or not. */
  attempts: number;
  next_retry_at: Time | null;
  last_retry_at: Time | null;
  http_status: number | null;
  error_class: string | null;
  upstream: string | null;
  idempotency_key: string | null;
  blocked_by: string | null;
  created_at: Time;
  updated_at: Time;
  terminal_id: string;
  store_id: string | null;
  /** This and the following: on the admin socket only. */
  payload?: string | null;
  payload_base64?: string;
  response?: string | null;
  source_uid?: number | null;
  source_pid?: number | null;
  retry_after?: RetryAfter;
}

export interface Upstream {
  name: string;
  state:
    | "paused" | "offline" | "blocked" | "failing" | "throttled" | "waiting" | "logging_in" | "online" | "unknown";
  since: Time;
  next_try_at: Time | null;
  conditions: string[];
  reason: string | null;
  latency_ms: number | null;
}

export interface Attempt {
  kind: "attempt";
  at: Time;
  failure_id: string;
  seq: number;
  entity_type: string;
  entity_id: string;
  action: string;
  attempt: number;
  trigger: "auto" | "manual" | "probe" | "verify";
  upstream: string;
  duration_ms: number;
  http_status: number | null;
  class: Class;
  error: string | null;
  response: string | null;
  counted: boolean;
  provisional: boolean;
  why: string | null;
}

export interface Operation {
  kind: "operation";
  at: Time;
  failure_id: string | null;
  seq: number | null;
  entity_type: string | null;
  entity_id: string | null;
  action: string | null;
  operation: string;
  actor_uid: number | null;
  actor_name: string | null;
  claimed_by: string | null;
  reason: string | null;
  changes?: { [name: string]: [string | null, string | null] };
  sha256_before?: string;
  sha256_after?: string;
}

export interface Alert {
  kind: string;
  /** `null`: the terminal. */
  subject: string | null;
  active: boolean;
  since: Time;
  cleared_at: Time | null;
  message: string;
}

export interface Tally {
  recorded: number;
  delivered: number;
  failed: number;
  refused: number;
  offline_seconds: number;
  shut_seconds: number;
}

export interface Point extends Tally {
  at: Time;
  pending: number;
  critical: number;
  held: number;
  upstreams: (Tally & { name: string })[];
}

export interface Changed { matched: number; changed: number; skipped: number }

/** What a good reply to each operation has, beside `ok` and `ref`. */
export interface Answers {
  hello: { name: "resyncd"; version: string; protocol: 1; terminal_id: string; ops: string[] };
  record: {
    id: string;
    seq: number | null;
    status: Status | "delivered" | "discarded" | "cleaned";
    /** It was recorded under this key before. */
    duplicate: boolean;
  };
  get: { failure: Failure };
  unsent: {
    unsent: number;
    on_their_way: number;
    needs_person: number;
    by_type: { entity_type: string; count: number }[];
    oldest_created_at: Time | null;
  };
  health: {
    state: "ok" | "degraded" | "critical";
    reasons: string[];
    upstreams: Upstream[];
    pending: number;
    critical: number;
    held: number;
    version: string;
    oldest_created_at: Time | null;
    last_delivery_at: Time | null;
    database_bytes: number;
    disk_free_bytes: number | null;
    clock_skew_ms: number | null;
    refusing?: string;
    lost?: number;
    removed?: { count: number; first_at: Time; last_at: Time };
  };
  list: { failures: Failure[]; total: number | null; next: string | null };
  history: { entries: (Attempt | Operation)[]; next: string | null };
  stats: {
    since: Time;
    recorded: number;
    delivered: number;
    discarded: number;
    cleaned: number;
    groups: {
      entity_type: string;
      action: string;
      total_failures: number;
      avg_retries: number;
      max_retries: number;
    }[];
  };
  series: { step_seconds: number; points: Point[] };
  digest: {
    since: Time;
    tries: number;
    whole: boolean;
    kinds: { entity_type: string; action: string; delivered: number; failed: number; refused: number }[];
    errors: {
      class: string;
      upstream: string;
      error: string;
      tries: number;
      counted: number;
      last_at: string;
      seq: number;
    }[];
    wait_seconds: number[];
    waits: number[];
    longest_wait_seconds: number;
    blocking: {
      seq: number;
      entity_type: string;
      entity_id: string;
      action: string;
      status: Status;
      created_at: Time;
      waiting: number;
    }[];
    blocked: [number, number];
    deeds: {
      at: Time;
      operation: string;
      actor: string | null;
      actor_uid: number | null;
      claimed_by: string | null;
      reason: string | null;
      seq: number | null;
      entity_type: string | null;
      entity_id: string | null;
      times: number;
    }[];
  };
  alerts: { alerts: Alert[] };
  metrics: { text: string };
  retry: Changed;
  hold: Changed;
  release: Changed;
  discard: Changed & { followers_held: string[]; followers_held_total: number };
  edit: { id: string; seq: number; status: string; idempotency_key: string; key_kept: boolean };
  flush: Changed & { asked_to_wait?: RetryAfter & { failures: number } };
  pause: { upstreams: string[] };
  resume: { upstreams: string[] };
  cleanup: { matched: number; changed: number };
  import: {
    id: string;
    seq: number | null;
    status?: Status;
    result: "imported" | "present" | "finished";
    was?: string;
  };
  reload: { changed: string[]; needs_restart: string[] };
}

export interface Refusal {
  ok: false;
  error: { code: ErrorCode; message: string; field?: string; changed?: number };
  ref?: Json;
}

/** The reply to an operation: good, or a refusal. */
export type Reply<Op extends keyof Answers> = ({ ok: true; ref?: Json } & Answers[Op]) | Refusal;
