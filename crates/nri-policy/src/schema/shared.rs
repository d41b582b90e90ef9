//! What both policies have: pkg/apis/config/v1alpha1/{agent,instrumentation,log,resmgr} of nri-plugins v0.14.0.

use super::{
    ANY, Default, Field, Grammar, INT64, Schema, Text, Words, defaulted, field, grammar, integer, list, not_negative,
};
use super::{required, text};
use crate::grammar as of;

/// CPUs with `cpu` as the only key that the binaries look at; `rules::resources` reads it.
pub(super) const RESOURCES: Schema = Schema::Map(&ANY);
pub(super) const TEXTS: Schema = list(&ANY);
pub(super) const GLOB: Schema = grammar(of::is_glob, "a pattern such as app-* (with * ? [a-z] and \\ as in a shell)");
pub(super) const GLOBS: Schema = list(&GLOB);
const KHZ: Schema = integer(0, u32::MAX as i64);
const FREQUENCY: Schema =
    grammar(of::is_frequency, "a frequency such as 2.9GHz, 800MHz, 800000 (kHz), min, base or turbo");
/// Steps of the kernel from performance (0) to energy (255).
const PREFERENCE: i64 = 255;

pub(super) const AGENT: Field = defaulted(
    "agent",
    Schema::Object(&[field("nodeResourceTopology", Schema::Bool), field("podResourceAPI", Schema::Bool)]),
    Default::Object(&[("nodeResourceTopology", Default::Bool(true))]),
);

pub(super) const CONTROLLABLE_INTERRUPTS: Field = defaulted("controllableInterrupts", GLOBS, Default::Texts(&["*"]));

pub(super) const CONTROL: Field = field(
    "control",
    Schema::Object(&[
        field(
            "blockio",
            Schema::Object(&[field("enable", Schema::Bool), field("usePodQoSAsDefaultClass", Schema::Bool)]),
        ),
        field("cpu", Schema::Object(&[required("classes", Schema::Map(&Schema::Object(OLD_CPU_CLASS)))])),
        field("rdt", Schema::Object(RDT)),
    ]),
);

const OLD_CPU_CLASS: &[Field] = &[
    field("disabledCstates", TEXTS),
    field("energyPerformancePreference", integer(0, PREFERENCE)),
    field("freqGovernor", ANY),
    field("maxFreq", KHZ),
    field("minFreq", KHZ),
    field("uncoreMaxFreq", KHZ),
    field("uncoreMinFreq", KHZ),
];

const OPTIONAL: Schema = Schema::Object(&[required("optional", Schema::Bool)]);
const SHARE: Schema =
    grammar(of::is_cache_share, "a share of a cache such as 50%, 50-60%, 0-5 (bits) or 0xff0 (a mask without holes)");
const CACHE: Schema =
    Schema::Map(&Schema::Object(&[field("code", SHARE), field("data", SHARE), field("unified", SHARE)]));
const BANDWIDTH: Schema =
    Schema::Map(&list(&grammar(of::is_bandwidth, "a share of the memory's bandwidth such as 50% or 1000MBps")));

const RDT: &[Field] = &[
    field("enable", Schema::Bool),
    field("force", Schema::Bool),
    field("options", Schema::Object(&[field("l2", OPTIONAL), field("l3", OPTIONAL), field("mb", OPTIONAL)])),
    field("partitions", Schema::Map(&Schema::Object(RDT_PARTITION))),
    field("usePodQoSAsDefaultClass", Schema::Bool),
];
const RDT_PARTITION: &[Field] = &[
    field("classes", Schema::Map(&Schema::Object(RDT_CLASS))),
    field("l2Allocation", CACHE),
    field("l3Allocation", CACHE),
    field("mbAllocation", BANDWIDTH),
];
const RDT_CLASS: &[Field] =
    &[field("l2Allocation", CACHE), field("l3Allocation", CACHE), field("mbAllocation", BANDWIDTH)];

const OTLP: &[&str] = &["otlp-http", "otlp-grpc"];
const DURATION: Grammar = (of::is_duration, "a duration such as 30s or 1m30s");

pub(super) const INSTRUMENTATION: Field = field(
    "instrumentation",
    Schema::Object(&[
        field(
            "httpEndpoint",
            grammar(of::is_loopback_endpoint, "a loopback address of the node with a port, such as 127.0.0.1:8891"),
        ),
        field("logExportPeriod", Schema::Text(Text { words: Words::Any, format: None, grammar: Some(DURATION) })),
        field("logExporter", text(Words::Enum(OTLP))),
        defaulted(
            "metrics",
            Schema::Object(&[field("enabled", GLOBS), field("polled", GLOBS)]),
            Default::Object(&[("enabled", Default::Texts(&["policy", "buildinfo"]))]),
        ),
        field("metricsExporter", text(Words::Enum(&["prometheus", "otlp-http", "otlp-grpc"]))),
        field("prometheusExport", Schema::Bool),
        defaulted(
            "reportPeriod",
            Schema::Text(Text { words: Words::Any, format: Some("duration"), grammar: Some(DURATION) }),
            Default::Text("30s"),
        ),
        field("samplingRatePerMillion", integer(0, 1_000_000)),
        field("tracingCollector", text(Words::Enum(OTLP))),
    ]),
);

pub(super) const LOG: Field = field(
    "log",
    Schema::Object(&[
        field("debug", list(&grammar(of::is_debug, "log sources such as policy, cpu:on or all:off"))),
        field("klog", Schema::Object(KLOG)),
        field("source", Schema::Bool),
    ]),
);
const SEVERITY: Schema = grammar(of::is_severity, "INFO, WARNING, ERROR, FATAL or one of the numbers 0 to 3");
const KLOG: &[Field] = &[
    field("add_dir_header", Schema::Bool),
    field("alsologtostderr", Schema::Bool),
    field("alsologtostderrthreshold", SEVERITY),
    field("legacy_stderr_threshold_behavior", Schema::Bool),
    field("log_backtrace_at", grammar(of::is_backtrace, "a place in the source such as policy.go:42")),
    field("log_dir", ANY),
    field("log_file", ANY),
    field("log_file_max_size", INT64),
    field("logtostderr", Schema::Bool),
    field("one_output", Schema::Bool),
    field("skip_headers", Schema::Bool),
    field("skip_log_headers", Schema::Bool),
    field("stderrthreshold", SEVERITY),
    field("v", integer(0, 10)),
    field("vmodule", grammar(of::is_vmodule, "levels by file such as policy=4,cpu*=2")),
];

pub(super) const CPU_CLASSES: Field = field("cpuClasses", list(&Schema::Object(CPU_CLASS)));
const CPU_CLASS: &[Field] = &[
    field("disabledCstates", TEXTS),
    field("energyPerformancePreference", not_negative(PREFERENCE)),
    field("freqGovernor", ANY),
    field("maxFreq", FREQUENCY),
    field("minFreq", FREQUENCY),
    required("name", ANY),
    field("pctMaxFreq", FREQUENCY),
    field("pctMinFreq", FREQUENCY),
    field("pctPriority", text(Words::Enum(&["high", "low"]))),
    field("publishExtendedResource", Schema::Bool),
    field("sstClosID", not_negative(15)),
    field("turboPriority", not_negative(i32::MAX as i64)),
    field("uncoreMaxFreq", FREQUENCY),
    field("uncoreMinFreq", FREQUENCY),
];

pub(super) const SCHEDULING_CLASSES: Field = field("schedulingClasses", list(&Schema::Object(SCHEDULING_CLASS)));
const SCHEDULING_CLASS: &[Field] = &[
    field("deadline", INT64),
    field(
        "flags",
        list(&text(Words::EnumOfList(&[
            "reset-on-fork",
            "reclaim",
            "dl-overrun",
            "keep-policy",
            "keep-params",
            "util-clamp-min",
            "util-clamp-max",
        ]))),
    ),
    field("ioClass", text(Words::Enum(&["none", "rt", "be", "idle"]))),
    // runc refuses any other (libcontainer/configs/validate/validator.go @ v1.3.6).
    field("ioPriority", integer(0, 7)),
    required("name", ANY),
    // As setpriority(2).
    field("nice", integer(-20, 19)),
    field("period", INT64),
    field("policy", text(Words::Enum(&["none", "other", "fifo", "rr", "batch", "iso", "idle", "deadline"]))),
    // As sched(7).
    field("priority", integer(0, 99)),
    field("runtime", INT64),
];

pub(super) const EXPRESSIONS: Field = field(
    "matchExpressions",
    list(&Schema::Object(&[
        required("key", ANY),
        required(
            "operator",
            text(Words::Enum(&[
                "Equals",
                "NotEqual",
                "In",
                "NotIn",
                "Exists",
                "NotExist",
                "AlwaysTrue",
                "Matches",
                "MatchesNot",
                "MatchesAny",
                "MatchesNone",
            ])),
        ),
        field("values", TEXTS),
    ])),
);
