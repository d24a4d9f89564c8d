//! Pipelines in the shape of those that people publish for the logs of one program, each with lines of that program.

/// What they are for, the stages, the lines.
pub type Real = (&'static str, &'static str, &'static [&'static str]);

pub const REAL: [Real; 22] = [
    (
        "nginx",
        r#"
- match:
    selector: '{app="web"}'
    stages:
      - regex:
          expression: '^(?P<remote_addr>[\w\.]+) - (?P<remote_user>[^ ]*) \[(?P<time_local>.*)\] "(?P<method>[^ ]*) (?P<request>[^ ]*) (?P<protocol>[^ ]*)" (?P<status>[\d]+) (?P<body_bytes_sent>[\d]+) "(?P<http_referer>[^"]*)" "(?P<http_user_agent>[^"]*)"?'
      - timestamp: {source: time_local, format: '02/Jan/2006:15:04:05 -0700', action_on_failure: fudge}
      - labels: {method: , status: }
      - drop: {source: request, expression: '^/(healthz|metrics)$', drop_counter_reason: probe}
      - metrics:
          http_nginx_response_bytes: {type: Histogram, description: bytes sent, source: body_bytes_sent, config: {buckets: [100, 1000, 10000]}}
"#,
        &[
            r#"192.168.1.9 - - [03/Mar/2026:10:02:11 +0100] "GET /cart HTTP/1.1" 200 5123 "-" "Mozilla/5.0 (X11; Linux)""#,
            r#"10.42.0.1 - alice [03/Mar/2026:10:02:12 +0100] "GET /healthz HTTP/1.1" 200 2 "-" "kube-probe/1.32""#,
            r#"10.42.0.1 - - [03/Mar/2026:25:02:12 +0100] "POST /a?b=[c] HTTP/2.0" 502 0 "https://x.y/" "curl/8.5""#,
            r#"10.42.0.1 - - [03/Mar/2026:10:02:13 +0100] "" 400 0 "-" "-""#,
            "2026/03/03 10:02:13 [error] 31#31: *9 connect() failed (111: Connection refused) while connecting to upstream",
        ],
    ),
    (
        "nginx with an escaped JSON log",
        r#"
- json:
    expressions: {ts: time_iso8601, status: , request_time: , uri: request_uri, upstream: upstream_response_time}
- timestamp: {source: ts, format: RFC3339, action_on_failure: skip}
- template: {source: class, template: '{{ if eq .status "" }}none{{ else }}{{ trunc 1 .status }}xx{{ end }}'}
- labels: {class: }
- metrics:
    request_seconds: {type: Histogram, source: request_time, prefix: nginx_, config: {buckets: [0.05, 0.1, 0.5, 1]}}
- output: {source: uri}
"#,
        &[
            r#"{"time_iso8601":"2026-03-03T10:02:11+01:00","status":"200","request_time":"0.031","request_uri":"/cart","upstream_response_time":"0.030"}"#,
            r#"{"time_iso8601":"2026-03-03T10:02:12+01:00","status":"504","request_time":"60.001","request_uri":"/pay","upstream_response_time":"-"}"#,
            r#"{"time_iso8601":"yesterday","status":"","request_time":"","request_uri":""}"#,
        ],
    ),
    (
        "ingress-nginx",
        r#"
- regex:
    expression: '^(?P<remote_addr>\S+) - (?P<remote_user>\S+) \[(?P<time_local>[^\]]+)\] "(?P<request_method>\S+) (?P<path>\S+) \S+" (?P<status>\d{3}) (?P<bytes>\d+) "(?P<referer>[^"]*)" "(?P<agent>[^"]*)" (?P<request_length>\d+) (?P<request_time>[\d.]+) \[(?P<upstream>[^\]]*)\] \[[^\]]*\] (?P<upstream_addr>\S+) (?P<upstream_length>\S+) (?P<upstream_time>\S+) (?P<upstream_status>\S+) (?P<req_id>\w+)$'
- timestamp: {source: time_local, format: '02/Jan/2006:15:04:05 -0700', action_on_failure: skip}
- structured_metadata: {req_id: , upstream: , remote_addr: }
- labels: {status: , request_method: }
- metrics:
    ingress_request_seconds: {type: Histogram, source: request_time, config: {buckets: [0.1, 0.5, 1, 5]}}
    ingress_errors_total: {type: Counter, source: status, config: {value: "503", action: inc}}
"#,
        &[
            r#"10.42.1.1 - - [03/Mar/2026:09:00:01 +0000] "GET /api/v1/items?page=2 HTTP/2.0" 200 812 "https://shop.example/" "Mozilla/5.0" 431 0.012 [shop-web-80] [] 10.42.2.17:8080 812 0.012 200 9f1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e"#,
            r#"10.42.1.1 - - [03/Mar/2026:09:00:02 +0000] "GET / HTTP/1.1" 503 190 "-" "curl/8.5" 80 0.000 [shop-web-80] [] - - - - 1f1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e"#,
            "I0303 09:00:03.000000       7 controller.go:190] \"Configuration changes detected, backend reload required\"",
        ],
    ),
    (
        "Spring Boot",
        r#"
- multiline: {firstline: '^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}\.\d{3}', max_wait_time: 3s}
- regex:
    expression: '(?s)^(?P<time>\S+)\s+(?P<level>[A-Z]+)\s+(?P<pid>\d+)\s+---\s+\[(?P<thread>[^\]]*)\]\s+(?P<logger>\S+)\s+:\s+(?P<msg>.*)$'
- timestamp: {source: time, format: '2006-01-02T15:04:05.000Z07:00', action_on_failure: fudge}
- labels: {level: }
- template: {source: level, template: '{{ ToLower .Value }}'}
- structured_metadata: {logger: , thread: }
"#,
        &[
            "2026-03-03T10:02:11.123Z  INFO 1 --- [           main] c.e.shop.ShopApplication                 : Started ShopApplication in 2.1 seconds",
            "2026-03-03T10:02:12.000Z ERROR 1 --- [nio-8080-exec-1] o.a.c.c.C.[.[.[/].[dispatcherServlet]    : Servlet.service() threw exception",
            "",
            "java.lang.IllegalStateException: no card",
            "\tat com.example.shop.Pay.now(Pay.java:7) ~[classes!/:na]",
            "Caused by: java.io.IOException: disk",
            "\t... 57 common frames omitted",
            "2026-03-03T10:02:13.500Z  WARN 1 --- [nio-8080-exec-2] c.e.shop.Stock : low",
            "  .   ____          _            __ _ _",
        ],
    ),
    (
        "logback as JSON",
        r#"
- json:
    expressions: {timestamp: '"@timestamp"', level: , logger: logger_name, thread: thread_name, message: , trace: stack_trace, mdc: , traceId: mdc.traceId}
- timestamp: {source: timestamp, format: RFC3339Nano, fallback_formats: ['2006-01-02T15:04:05.000-0700'], action_on_failure: skip}
- labels: {level: }
- structured_metadata: {traceId: , logger: }
- template: {source: message, template: '{{ .message }}{{ if .trace }}{{ printf "\n" }}{{ .trace }}{{ end }}'}
- output: {source: message}
"#,
        &[
            r#"{"@timestamp":"2026-03-03T10:02:11.123456+01:00","@version":"1","message":"paid","logger_name":"shop.Pay","thread_name":"main","level":"INFO","level_value":20000,"mdc":{"traceId":"7f2c"}}"#,
            r#"{"@timestamp":"2026-03-03T10:02:12.500+0100","message":"cannot pay","logger_name":"shop.Pay","level":"ERROR","stack_trace":"java.lang.X: no\n\tat a.B.c(D.java:1)\n"}"#,
            "OpenJDK 64-Bit Server VM warning: Sharing is only supported for boot loader classes",
        ],
    ),
    (
        "Traefik as JSON",
        r#"
- json:
    expressions: {status: OriginStatus, method: RequestMethod, path: RequestPath, client: ClientHost, duration: Duration, time: , host: RequestHost, agent: '"request_User-Agent"'}
- drop: {source: [method, path], separator: ' ', expression: '^GET /ping$'}
- labels: {status: , method: }
- template: {source: ms, template: '{{ .duration }}'}
- metrics:
    traefik_duration: {type: Gauge, source: duration, config: {action: set}}
- timestamp: {source: time, format: RFC3339, action_on_failure: skip}
"#,
        &[
            r#"{"ClientAddr":"10.0.0.5:51234","ClientHost":"10.0.0.5","Duration":1234567,"OriginStatus":200,"RequestHost":"shop.example","RequestMethod":"GET","RequestPath":"/cart","request_User-Agent":"curl/8","time":"2026-03-03T10:02:11Z"}"#,
            r#"{"ClientHost":"10.0.0.5","Duration":99,"OriginStatus":0,"RequestMethod":"GET","RequestPath":"/ping","time":"2026-03-03T10:02:11Z"}"#,
            r#"time="2026-03-03T10:02:11Z" level=info msg="Configuration loaded from flags.""#,
        ],
    ),
    (
        "Traefik as text",
        r#"
- regex:
    expression: '^(?P<client>\S+) - (?P<user>\S+) \[(?P<ts>[^\]]+)\] "(?P<method>\S+) (?P<path>\S+) (?P<proto>\S+)" (?P<status>\d+) (?P<size>\d+|-) "(?P<referer>[^"]*)" "(?P<agent>[^"]*)" (?P<count>\d+) "(?P<router>[^"]*)" "(?P<url>[^"]*)" (?P<ms>\d+)ms$'
- timestamp: {source: ts, format: '02/Jan/2006:15:04:05 -0700', action_on_failure: fudge}
- labels: {router: , status: }
- replace: {expression: '^(\S+) ', replace: '{{ .Value | Sha2Hash "pepper" | trunc 12 }}'}
"#,
        &[
            r#"10.0.0.5 - - [03/Mar/2026:10:02:11 +0000] "GET /cart HTTP/2.0" 200 312 "-" "-" 17 "web@docker" "http://172.17.0.3:80" 3ms"#,
            r#"10.0.0.5 - bob [03/Mar/2026:10:02:12 +0000] "GET /x HTTP/1.1" 404 - "-" "curl/8.5" 18 "-" "-" 0ms"#,
        ],
    ),
    (
        "CoreDNS",
        r#"
- regex: {expression: '^\[(?P<level>\w+)\] (?P<client>[\d.:a-f]+):(?P<port>\d+) - (?P<id>\d+) "(?P<type>\S+) IN (?P<name>\S+) (?P<proto>\w+) (?P<size>\d+) (?P<do>\w+) (?P<bufsize>\d+)" (?P<rcode>\w+) (?P<flags>\S+) (?P<rsize>\d+) (?P<duration>[\d.]+s)$'}
- match:
    selector: '{app="web"} !~ "NXDOMAIN|SERVFAIL"'
    action: drop
    drop_counter_reason: good_answer
- labels: {rcode: , type: }
- metrics:
    coredns_seconds: {type: Histogram, source: duration, config: {buckets: [0.001, 0.01, 0.1]}}
"#,
        &[
            r#"[INFO] 10.42.0.12:43210 - 51743 "A IN shop.default.svc.cluster.local. udp 54 false 512" NOERROR qr,aa,rd 106 0.000214543s"#,
            r#"[INFO] 10.42.0.12:43211 - 51744 "AAAA IN nowhere.example. udp 45 false 1232" NXDOMAIN qr,rd,ra 120 0.0213s"#,
            "[ERROR] plugin/errors: 2 x.example. A: read udp 10.42.0.3:1->1.1.1.1:53: i/o timeout SERVFAIL",
        ],
    ),
    (
        "klog",
        r#"
- regex: {expression: '^(?P<level>[IWEF])(?P<ts>\d{4} \d{2}:\d{2}:\d{2}\.\d{6})\s+(?P<thread>\d+)\s(?P<source>[^\]]+)\]\s(?P<message>.*)$'}
- template:
    source: level
    template: '{{ if eq .level "I" }}info{{ else if eq .level "W" }}warning{{ else if eq .level "E" }}error{{ else if eq .level "F" }}fatal{{ end }}'
- labels: {level: }
- structured_metadata: {source: }
- output: {source: message}
"#,
        &[
            "I0303 10:02:11.123456       1 leaderelection.go:250] attempting to acquire leader lease kube-system/x...",
            "E0303 10:02:12.000001  214715 reflector.go:158] \"Unhandled Error\" err=\"failed to list *v1.Node: Unauthorized\"",
            "F0303 10:02:13.000001       1 main.go:1] gone",
            "goroutine 1 [running]:",
        ],
    ),
    (
        "etcd",
        r#"
- json: {expressions: {level: , ts: , caller: , msg: , took: , expected: '"expected-duration"'}, drop_malformed: true}
- timestamp: {source: ts, format: '2006-01-02T15:04:05.999999Z0700', action_on_failure: skip}
- labels: {level: }
- match:
    selector: '{level="warn"} |= "apply request took too long"'
    stages:
      - metrics:
          etcd_slow_seconds: {type: Histogram, source: took, config: {buckets: [0.1, 0.5, 1]}}
          etcd_slow_total: {type: Counter, config: {match_all: true, action: inc}}
- match: {selector: '{level="debug"}', action: drop, drop_counter_reason: debug}
"#,
        &[
            r#"{"level":"warn","ts":"2026-03-03T10:02:11.123456Z","caller":"txn/util.go:93","msg":"apply request took too long","took":"153.12ms","expected-duration":"100ms","prefix":"read-only range "}"#,
            r#"{"level":"debug","ts":"2026-03-03T10:02:11.2+0000","caller":"x.go:1","msg":"tick"}"#,
            "not JSON",
            r#"["an","array"]"#,
        ],
    ),
    (
        "PostgreSQL",
        r#"
- multiline: {firstline: '^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [A-Z]+ \[\d+\]', max_lines: 4}
- regex: {expression: '(?s)^(?P<ts>\S+ \S+ \w+) \[(?P<pid>\d+)\] (?:(?P<user>[^@\s]*)@(?P<db>\S+) )?(?P<level>[A-Z]+):  (?P<msg>.*?)(?:\n|$)'}
- timestamp: {source: ts, format: '2006-01-02 15:04:05.000 MST', action_on_failure: skip, location: Europe/Berlin}
- template: {source: level, template: '{{ if eq .Value "LOG" }}info{{ else if eq .Value "FATAL" "PANIC" }}fatal{{ else }}{{ ToLower .Value }}{{ end }}'}
- labels: {level: , db: }
- regex: {source: msg, expression: 'duration: (?P<duration>[\d.]+ ms)'}
- replace: {source: duration, expression: '( )'}
- metrics:
    postgres_seconds: {type: Histogram, source: duration, config: {buckets: [0.01, 0.1, 1]}}
"#,
        &[
            "2026-03-03 10:02:11.123 UTC [77] app@shop LOG:  duration: 153.22 ms  statement: SELECT *",
            "\tFROM orders",
            "\tWHERE id = 7",
            "2026-03-03 10:02:12.000 CET [78] ERROR:  duplicate key value violates unique constraint \"x\"",
            "2026-03-03 10:02:12.000 CET [78] DETAIL:  Key (id)=(7) already exists.",
            "2026-03-03 10:02:13.000 UTC [1] FATAL:  terminating",
        ],
    ),
    (
        "Home Assistant",
        r#"
- decolorize:
- multiline: {firstline: '^(\x1b\[\d+m)?\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}'}
- regex: {expression: '(?s)^(?P<time>\d+-\d+-\d+ \d+:\d+:\d+\.\d+) (?P<level>\w+) \((?P<thread>[^)]+)\) \[(?P<component>[^\]]+)\] (?P<message>.*)'}
- timestamp: {source: time, format: '2006-01-02 15:04:05.000', location: Europe/Berlin, action_on_failure: fudge}
- labels: {level: , component: }
- output: {source: message}
"#,
        &[
            "\u{1b}[32m2026-03-03 10:02:11.123 INFO (MainThread) [homeassistant.core] Starting\u{1b}[0m",
            "\u{1b}[31m2026-03-29 02:30:00.500 ERROR (SyncWorker_1) [custom_components.x] Failed",
            "Traceback (most recent call last):",
            "  File \"/config/x.py\", line 7, in f",
            "ValueError: no\u{1b}[0m",
            "2026-03-03 10:02:13.000 WARNING (MainThread) [homeassistant.loader] custom integration",
        ],
    ),
    (
        "Pi-hole",
        r#"
- regex: {expression: '^(?P<ts>\w{3} +\d+ \d\d:\d\d:\d\d) dnsmasq\[(?P<pid>\d+)\]: (?P<action>query\[\w+\]|forwarded|reply|cached|gravity blocked|config) (?P<domain>\S+) (?:from|to|is) (?P<what>\S+)$'}
- timestamp: {source: ts, format: 'Jan _2 15:04:05', action_on_failure: skip}
- template: {source: action, template: '{{ TrimSuffix (regexReplaceAll "\\[.*" .Value "") " " }}'}
- labels: {action: }
- drop: {source: action, expression: '^(reply|cached)$'}
"#,
        &[
            "Mar  3 10:02:11 dnsmasq[451]: query[A] shop.example from 192.168.1.20",
            "Mar  3 10:02:11 dnsmasq[451]: forwarded shop.example to 1.1.1.1",
            "Mar  3 10:02:11 dnsmasq[451]: reply shop.example is 93.184.216.34",
            "Mar 13 10:02:12 dnsmasq[451]: gravity blocked ads.example is 0.0.0.0",
            "Mar 13 10:02:12 dnsmasq-dhcp[451]: DHCPACK(eth0) 192.168.1.20",
        ],
    ),
    (
        "zigbee2mqtt",
        r#"
- regex: {expression: '^\[(?P<ts>[^\]]+)\] (?P<level>\w+):\s+(?P<module>z2m\S*|zh\S*): (?P<msg>.*)$'}
- timestamp: {source: ts, format: '2006-01-02 15:04:05', location: Europe/Amsterdam, action_on_failure: skip}
- labels: {level: }
- match:
    selector: '{level="info"} |~ "MQTT publish: topic"'
    stages:
      - regex: {source: msg, expression: "topic '(?P<topic>[^']+)', payload '(?P<payload>.*)'$"}
      - json: {source: payload, expressions: {linkquality: , battery: , temperature: }}
      - structured_metadata: {topic: }
      - metrics:
          zigbee_linkquality: {type: Gauge, source: linkquality, config: {action: set}}
          zigbee_temperature: {type: Gauge, source: temperature, config: {action: set}}
"#,
        &[
            r#"[2026-03-03 10:02:11] info: 	z2m:mqtt: MQTT publish: topic 'zigbee2mqtt/kitchen', payload '{"battery":97,"humidity":41.2,"linkquality":102,"temperature":21.53}'"#,
            r#"[2026-03-03 10:02:12] info: 	z2m:mqtt: MQTT publish: topic 'zigbee2mqtt/bridge/state', payload '{"state":"online"}'"#,
            r#"[2026-03-03 10:02:13] error: 	z2m: Publish 'set' 'state' to 'lamp' failed: 'Error: timeout'"#,
        ],
    ),
    (
        "Argo CD",
        r#"
- logfmt: {mapping: {time: , level: , msg: , application: , dest: dest-namespace}}
- timestamp: {source: time, format: RFC3339, action_on_failure: skip}
- labels: {level: , application: }
- drop: {source: msg, expression: '(?i)^refreshing app status', drop_counter_reason: refresh}
- limit: {rate: 100, burst: 200, drop: true}
- output: {source: msg}
"#,
        &[
            r#"time="2026-03-03T10:02:11Z" level=info msg="Refreshing app status (spec.source differs), level (3)" application=argocd/shop"#,
            r#"time="2026-03-03T10:02:12Z" level=error msg="ComparisonError: rpc error: code = Unknown desc = \"x\"" application=argocd/shop dest-namespace=shop"#,
            "plain words",
        ],
    ),
    (
        "Mosquitto",
        r#"
- regex: {expression: '^(?P<ts>\d{10}): (?P<msg>.*)$'}
- timestamp: {source: ts, format: Unix, action_on_failure: skip}
- output: {source: msg}
- regex: {expression: '(?i)client (?P<client>\S+) (?P<event>disconnected|closed its connection|has exceeded timeout)'}
- template: {source: event, template: '{{ Replace .Value " " "_" -1 }}'}
- structured_metadata: {client: }
- labels: {event: }
"#,
        &[
            "1772532131: New client connected from 10.0.0.7:41234 as sensor-1 (p2, c1, k60).",
            "1772532132: Client sensor-1 closed its connection.",
            "1772532133: Client sensor-2 has exceeded timeout, disconnecting.",
            "mosquitto version 2.0.20 starting",
        ],
    ),
    (
        "Go with zap, and secrets",
        r#"
- json: {expressions: {level: , ts: , msg: , user: , request: , method: request.method, first: 'request.tags[0]'}}
- timestamp: {source: ts, format: Unix, action_on_failure: skip}
- replace: {expression: '"(?:password|token)":"([^"]+)"', replace: '***'}
- replace: {expression: '(\d{3})-\d{2}-(?P<last>\d{4})', replace: '{{ if eq .Value .last }}{{ .Value }}{{ else }}xxx{{ end }}'}
- labels: {level: , method: }
- structured_metadata: {user: , first: }
"#,
        &[
            r#"{"level":"info","ts":1772532131.1234567,"caller":"api/x.go:7","msg":"login","user":"ann","password":"hunter2","request":{"method":"POST","tags":["a","b"]}}"#,
            r#"{"level":"warn","ts":1772532132,"msg":"ssn 123-45-6789 and 987-65-4321","token":"abc"}"#,
            r#"{"level":"info","ts":"now","msg":"x","request":{"tags":[]}}"#,
        ],
    ),
    (
        "pino",
        r#"
- json: {expressions: {level: , time: , msg: , pid: , url: req.url, code: res.statusCode, ms: responseTime, err: err.stack}}
- timestamp: {source: time, format: UnixMs, action_on_failure: fudge}
- template: {source: level, template: '{{ if eq .Value "30" }}info{{ else if eq .Value "40" }}warn{{ else if eq .Value "50" }}error{{ else }}other{{ end }}'}
- labels: {level: }
- template: {source: out, template: '{{ default "-" .url }} {{ default "-" .code }} {{ .msg }}'}
- output: {source: out}
"#,
        &[
            r#"{"level":30,"time":1772532131123,"pid":7,"hostname":"api-1","req":{"id":1,"method":"GET","url":"/a"},"res":{"statusCode":200},"responseTime":3.5,"msg":"request completed"}"#,
            r#"{"level":50,"time":1772532131124,"pid":7,"err":{"type":"Error","message":"no","stack":"Error: no\n    at x (a.js:1:2)"},"msg":"no"}"#,
            r#"{"level":60,"time":"soon","msg":"gone"}"#,
        ],
    ),
    (
        "several programs by match",
        r#"
- match:
    selector: '{app=~"web|api"} |~ "^\\{"'
    stages:
      - json: {expressions: {lvl: level}}
      - labels: {level: lvl}
- match:
    selector: '{app=~"web|api", level=""}'
    stages:
      - logfmt: {mapping: {level: }}
      - labels: {level: }
- match: {selector: '{level=~"debug|trace"}', action: drop, drop_counter_reason: too_detailed}
- labeldrop: [pod]
- static_labels: {cluster: home, empty: }
- pack: {labels: [level], ingest_timestamp: false}
"#,
        &[
            r#"{"level":"info","msg":"a <b> & c"}"#,
            "level=debug msg=x",
            "level=trace msg=y",
            "level= msg=z",
            "no level",
        ],
    ),
    (
        "syslog of a router",
        r#"
- regex: {expression: '^<(?P<pri>\d+)>(?P<ts>\w+\s+\d+\s\d+:\d+:\d+) (?P<host>\S+) (?P<prog>[^:\[]+)(?:\[(?P<pid>\d+)\])?: (?P<msg>.*)$'}
- timestamp: {source: ts, format: Stamp, fallback_formats: ['Jan _2 15:04:05', 'Jan 2 15:04:05'], action_on_failure: skip}
- template: {source: drop, template: '{{ if and (hasPrefix "kernel" .prog) (contains "DROP" .msg) }}true{{ end }}'}
- labels: {prog: }
- structured_metadata: {host: , pri: , drop: }
- tenant: {source: host}
- labelallow: [app, prog]
"#,
        &[
            "<4>Mar  3 10:02:11 gw kernel: [UFW BLOCK] DROP IN=eth0 OUT= SRC=1.2.3.4",
            "<30>Mar 13 10:02:12 gw dnsmasq-dhcp[88]: DHCPREQUEST(br0) 192.168.1.9",
            "<86>no syslog",
        ],
    ),
    (
        "Kubernetes audit",
        r#"
- json: {expressions: {verb: , user: user.username, resource: objectRef.resource, ns: objectRef.namespace, code: responseStatus.code, stage: , at: stageTimestamp, annotations: }}
- drop: {source: stage, value: RequestReceived}
- drop: {source: "user", expression: "^system:(node|serviceaccount:kube-system):.*"}
- drop: {longer_than: 8KB, drop_counter_reason: long}
- timestamp: {source: at, format: RFC3339Nano, action_on_failure: skip}
- labels: {verb: , resource: , code: }
- structured_metadata: {user: , ns: }
- sampling: {rate: 1}
"#,
        &[
            r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","stage":"ResponseComplete","verb":"delete","user":{"username":"ann","groups":["a"]},"objectRef":{"resource":"pods","namespace":"shop"},"responseStatus":{"metadata":{},"code":200},"stageTimestamp":"2026-03-03T10:02:11.123456Z","annotations":{"b":"2","a":"1"}}"#,
            r#"{"stage":"RequestReceived","verb":"get","user":{"username":"ann"}}"#,
            r#"{"stage":"ResponseComplete","verb":"get","user":{"username":"system:node:pi4"},"responseStatus":{"code":200}}"#,
            r#"{"stage":"Panic","verb":"get","user":{"username":"bob"},"objectRef":null}"#,
        ],
    ),
    (
        "Windows line ends and tabs",
        r#"
- replace: {expression: '(\r)$', replace: ''}
- regex: {expression: "^(?P<date>[^\t]+)\t(?P<level>[^\t]+)\t(?P<msg>[^\r]*)"}
- template: {source: level, template: '{{ .Value | TrimSpace | ToLower }}'}
- labels: {level: }
- timestamp: {source: date, format: '1/2/2006 3:04:05 PM', location: America/New_York, action_on_failure: skip}
"#,
        &[
            "3/8/2026 2:30:00 AM\t WARN \tclock change\r",
            "11/1/2026 1:30:00 AM\tINFO\ttwice\r",
            "3/8/2026 14:30:00 PM\tX\ty",
        ],
    ),
];
