import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import * as Redacted from "effect/Redacted"
import { archiveOf, asToken, type ConfigDocument, decode, umaskOf, withToken } from "../../src/config/Config.ts"
import { example, render } from "../../src/config/ConfigExample.ts"

const minimal = { source_path: "/tank/source", target_path: "/tank/target" }

const gotify = { url: "https://gotify.example.com/message", token: "Axyz" }

const decoded = (input: unknown): ConfigDocument =>
  Either.getOrThrowWith(decode(input), (lines) => new Error(lines.join("\n")))

const mistakes = (input: unknown): ReadonlyArray<string> => Either.getOrElse(Either.flip(decode(input)), () => [])

/** The mistakes that a change of the smallest good configuration makes. */
const changed = (change: Readonly<Record<string, unknown>>) => mistakes({ ...minimal, ...change })

describe("Config", () => {
  it("takes the smallest file, with every default", () => {
    const config = decoded(minimal)
    assert.isAtLeast(config.compression.threads, 1)
    assert.deepStrictEqual(
      { ...config, compression: { ...config.compression, threads: 0 } },
      {
        source_path: "/tank/source",
        target_path: "/tank/target",
        folders: "^[A-Z0-9]{4}$",
        exclude: [],
        exclude_caches: false,
        snapshot_prefix: "auto-zip",
        max_workers: 1,
        retries: 3,
        nice: 10,
        umask: "027",
        lockfile_path: "/var/run/zipper.lock",
        lock_wait_seconds: 0,
        log_file: "/var/log/zipper.log",
        snapshots: "zfs",
        snapshot_keep: 1,
        compare: "ctime",
        task_timeout_seconds: 14400,
        compression: { method: "auto", level: 6, threads: 0 },
        notify_on: ["failure"],
        reminder_hours: 24,
        hook_timeout_seconds: 600,
        log_max_bytes: 10485760,
        log_keep: 5,
        syslog: true,
        replication: []
      }
    )
    assert.strictEqual(umaskOf(config), 0o027)
  })

  it("takes every key there is", () => {
    const all = {
      ...minimal,
      gotify: { ...gotify, token_file: "/etc/token", priority: 8, timeout_seconds: 3 },
      snapshots: "live",
      compression: { method: "deflate", level: 9, threads: 1 },
      notify_on: ["failure", "success"],
      replication: [
        {
          name: "nightly",
          direction: "pull",
          host: "nas",
          user: "backup",
          port: 2222,
          datasets: ["tank/a", "tank/b c"],
          exclude: ["tank/a/tmp"],
          destination: "backup/pulled",
          raw: true,
          ssh_options: ["Compression=yes", "IdentityFile /root/.ssh/backup"],
          bandwidth: "10M",
          compress: "zstd",
          retention: { hourly: 24, daily: 7 }
        },
        { name: "offsite", direction: "push", host: "me@host", datasets: ["tank/a"], strip_prefix: "tank" }
      ],
      mqtt: { host: "broker", port: 1884, topic: "a/b", username: "u", password: "p", timeout_seconds: 5 }
    }
    const config = decoded(all)
    assert.strictEqual(config.replication.length, 2)
    assert.deepStrictEqual(config.replication[0]?.retention, { hourly: 24, daily: 7, weekly: 0, monthly: 0 })
    assert.strictEqual(config.gotify?.priority, 8)
  })

  it("reports every mistake at once, in the order of the file, and suggests the nearest key", () => {
    assert.deepStrictEqual(
      mistakes({
        max_workers: "four",
        max_worker: 1,
        target_path: "backup",
        gotify: { token: 5, prioritty: 3, priority: 11, url: "ftp://me:hush@host/?token=hush" },
        compression: 5,
        notify_on: ["failur"],
        umask: 27,
        tmp_dir: null,
        colour: true,
        snapshots: "life"
      }),
      [
        'max_workers: "four" is not a whole number from 1 to 64',
        "max_worker: unknown key; did you mean max_workers?",
        'target_path: "backup" is not an absolute path without .. in it',
        "gotify.token: the value (hidden) is not an application token, text without spaces",
        "gotify.prioritty: unknown key; did you mean priority?",
        "gotify.priority: 11 is not a whole number from 0 to 10",
        'gotify.url: "ftp://host/" is not an http or https address such as https://gotify.example.com/message (@ in a path or password as %40, / in a password as %2F)',
        "compression: 5 is not an object { … }",
        'notify_on[0]: "failur" is not "failure", "success" or "recovery"',
        'umask: 27 is not octal text that leaves the owner everything, such as "027"',
        "tmp_dir: null is not an absolute path without .. in it",
        "colour: unknown key",
        'snapshots: "life" is not "zfs" or "live"',
        "source_path: is missing; expected an absolute path without .. in it"
      ]
    )
  })

  it("refuses a rule for names that a name could keep busy for ever, and shows it whole", () => {
    for (const folders of ["[^.].*", "Documents|photos [0-9]+", "([A-Za-z0-9]+[ _-])*[A-Za-z0-9]+", ".*a.*0.*"]) {
      assert.strictEqual(decoded({ ...minimal, folders }).folders, folders)
    }
    for (const folders of ["([A-Za-z0-9]+[ _#-]?)+", "Photos ([äöü]+ ?)+", "(a|a)+"]) {
      assert.deepStrictEqual(mistakes({ ...minimal, folders }), [
        `folders: "${folders}" takes for ever on some names, since it can match them in too many ways: no repeat within a repeat, as in "([a-z]+ ?)+", and no alternatives in one that overlap, as in "(a|a)+"`
      ])
    }
  }, 60_000)

  it("needs no archive job when it is for replication or suspend alone, and never half of one", () => {
    const replication = [{ name: "n", direction: "push", host: "h", datasets: ["tank"] }]
    const mqtt = { host: "broker" }
    const missing = (key: string) => `${key}: is missing; expected an absolute path without .. in it`
    for (const of of [{ replication }, { mqtt }, { replication, mqtt }]) {
      assert.isUndefined(archiveOf(withToken(decoded(of), undefined)))
      assert.notInclude(render(withToken(decoded(of), undefined)), '_path": undefined')
      assert.deepStrictEqual(mistakes({ ...of, source_path: "/a" }), [missing("target_path")])
      assert.deepStrictEqual(mistakes({ ...of, target_path: "/a" }), [missing("source_path")])
      assert.strictEqual(archiveOf(withToken(decoded({ ...of, ...minimal }), undefined))?.target_path, "/tank/target")
    }
    for (const nothing of [{}, { replication: [] }, { gotify }]) {
      assert.deepStrictEqual(mistakes(nothing), [missing("source_path"), missing("target_path")])
    }
  })

  it("tells nothing of a password, whatever is in it and wherever it stands", () => {
    const wrong = "(@ in a path or password as %40, / in a password as %2F)"
    for (const url of ["htp://me:hu@sh@host/?t=hush", "https://me:hu/sh@host/message", "https://me:hu?sh@host:x/"]) {
      const [line = "", ...others] = mistakes({ ...minimal, gotify: { ...gotify, url } })
      assert.match(line, /^gotify\.url: "\w+:\/\/host[^"]*" is not an http/)
      assert.include(line, wrong)
      assert.deepStrictEqual(others, [])
    }
    assert.deepStrictEqual(mistakes({ ...minimal, gotify: "A.hush" }), [
      "gotify: the value (hidden) is not an object { … }"
    ])
  })

  it("refuses what is no object", () => {
    assert.deepStrictEqual(mistakes(null), ["the file holds null, not an object { … }"])
    assert.deepStrictEqual(mistakes([]), ["the file holds an empty list, not an object { … }"])
  })

  it("refuses values that cannot work", () => {
    const bad: ReadonlyArray<readonly [string, ReadonlyArray<unknown>]> = [
      ["source_path", ["", "tank", "/tank/../etc", "/a\0b", 1]],
      ["max_workers", [0, 65, 1.5, "1", true]],
      ["retries", [-1, 21]],
      ["nice", [-21, 20]],
      ["umask", ["27", "777", "0x1", "028", 23]],
      ["snapshot_prefix", ["", "1a", "a@b", "a/b", "a b", "a".repeat(101), "-a"]],
      ["task_timeout_seconds", [0, 1e9]],
      ["log_max_bytes", [0, -1, 1e15]],
      ["log_keep", [-1, 100]],
      ["syslog", ["true", 1]],
      ["compression", [{ level: 10 }, { level: -1 }, { method: "zstd" }, { threads: 0 }, { extra: 1 }, []]],
      ["notify_on", ["failure", [1]]],
      ["gotify", [{}, { ...gotify, url: "gotify" }, { ...gotify, timeout_seconds: 0 }, { ...gotify, token: "a b" }]],
      ["mqtt", [{}, { host: "a b" }, { host: "h", topic: "#" }, { host: "h", password: 5 }]],
      ["replication", [[{}], [{ name: "a", direction: "push", host: "-oProxyCommand=x", datasets: ["a"] }]]]
    ]
    for (const [key, values] of bad) {
      for (const value of values) {
        const found = changed({ [key]: value })
        assert.isAtLeast(found.length, 1, `${key}: ${JSON.stringify(value)}`)
        assert.isTrue(
          found.every((line) => line.startsWith(key)),
          found.join("\n")
        )
      }
    }
  })

  it("refuses paths and jobs that contradict each other, together with other mistakes", () => {
    assert.deepStrictEqual(changed({ target_path: "/tank//source/" }), [
      "target_path: is the same folder as source_path"
    ])
    assert.deepStrictEqual(changed({ target_path: "/tank/source/out", max_workers: 0 }), [
      'target_path: "/tank/source/out" lies inside source_path: archives would be archived again',
      "max_workers: 0 is not a whole number from 1 to 64"
    ])
    assert.deepStrictEqual(changed({ target_path: "/tank/source2" }), [])
    assert.match(changed({ tmp_dir: "/tank/source/./tmp" }).join(), /^tmp_dir: "\/tank\/source\/tmp" lies inside/)
    for (const key of ["log_file", "lockfile_path", "metrics_file"]) {
      assert.deepStrictEqual(changed({ [key]: "/tank/source/./ABCD/x.prom" }), [
        `${key}: "/tank/source/ABCD/x.prom" lies in a folder of source_path: each run would archive what it wrote there`
      ])
      assert.deepStrictEqual(changed({ [key]: "/tank/source/x.prom" }), [])
      assert.deepStrictEqual(changed({ [key]: "/tank/source2/ABCD/x.prom" }), [])
    }
    assert.match(changed({ log_file: "/a/b", lockfile_path: "/a//b" }).join(), /^lockfile_path: is the same file as/)
    const own = changed({ target_path: "/tank/out", lockfile_path: "/tank/out/.zipper/lock" })
    assert.match(own.join(), /^lockfile_path: lies in the target's folder \.zipper/)
    const job = { name: "n", direction: "pull", host: "h", datasets: ["tank"] }
    assert.deepStrictEqual(
      changed({
        replication: [
          { ...job, destination: "b" },
          { ...job, strip_prefix: "tank" }
        ]
      }),
      [
        'replication[1].name: "n" is the name of an earlier job too',
        "replication[1].strip_prefix: belongs to a push; a pull writes below <destination>/<host>",
        "replication[1].destination: is missing; a pull needs the dataset that it writes below"
      ]
    )
  })

  it("says what is wrong with each part of a replication job, and with several jobs together", () => {
    const job = { name: "n", direction: "pull", host: "nas", datasets: ["tank"], destination: "b" }
    const wrong = (change: Readonly<Record<string, unknown>>) =>
      changed({ replication: [{ ...job, ...change }] })
        .map((line) => line.replace("replication[0].", ""))
        .sort()
    assert.deepStrictEqual(
      wrong({
        host: "-oProxyCommand=x",
        user: "a b",
        port: 0,
        datasets: ["tank/", "tank@a", 5],
        exclude: ["tmp", "a$b", ""],
        destination: "1pool",
        ssh_options: ["-p 22", "Compression"],
        bandwidth: "10 MB",
        compress: "gzip",
        retention: { hourly: -1, yearly: 1 }
      }),
      [
        'host: "-oProxyCommand=x" names a host that begins with a dash, which ssh would take for an option',
        'user: "a b" is no user name',
        "port: 0 is not a whole number from 1 to 65535",
        'datasets[0]: "tank/" has an empty part: no slash at the ends, no two in a row',
        'datasets[1]: "tank@a" names a snapshot; give the dataset alone',
        'datasets[2]: 5 is not the name of a dataset such as "tank/data"',
        'exclude[1]: "a$b" can match no dataset; expected a name or a pattern such as tmp, scratch* or tank/*/cache',
        'exclude[2]: "" is empty',
        'destination: "1pool" does not begin with the name of a pool',
        'ssh_options[0]: "-p 22" begins with a dash; give what goes after -o, such as "Compression=yes"',
        'ssh_options[1]: "Compression" is no ssh option; expected KEY=VALUE, such as "IdentityFile=/root/.ssh/backup"',
        'bandwidth: "10 MB" is not bytes a second such as "10M"',
        'compress: "gzip" is not "none" or "zstd"',
        "retention.hourly: -1 is not a whole number from 0 to 10000",
        "retention.yearly: unknown key"
      ].sort()
    )
    assert.deepStrictEqual(wrong({ host: "me@nas", user: "you" }), ['user: "you" is not the user of the host (me@nas)'])
    assert.deepStrictEqual(wrong({ host: "me@nas", user: "me" }), [])
    assert.deepStrictEqual(wrong({ datasets: [] }), [
      'datasets[0]: is missing; expected the name of a dataset such as "tank/data"'
    ])
    assert.deepStrictEqual(wrong({ retention: { daily: 0 } }), [
      "retention: would keep nothing; give hourly, daily, weekly or monthly a number above 0"
    ])
    assert.deepStrictEqual(wrong({ snapshot: true, source_retention: { daily: 0 } }), [
      "source_retention: would keep nothing; give hourly, daily, weekly or monthly a number above 0"
    ])
    for (const snapshot of [{}, { snapshot: false }]) {
      assert.deepStrictEqual(wrong({ ...snapshot, source_retention: { daily: 1 } }), [
        'source_retention: thins out what "snapshot": true takes, which this job does not have'
      ])
    }
    const push = { direction: "push", strip_prefix: "tank/a", datasets: ["tank/aa", "tank/a", "tank/a/b"] }
    assert.deepStrictEqual(wrong(push), ['datasets[0]: "tank/aa" does not lie in tank/a, the prefix to strip'])
    const twice = changed({ replication: [job, { ...job, name: "m", port: 2222 }] })
    assert.strictEqual(twice.length, 1)
    assert.match(twice.join(), /^replication: jobs "n" and "m" would both write to b\/nas\/tank/)
  })

  it("tidies paths, so that they can be compared", () => {
    assert.strictEqual(decoded({ ...minimal, source_path: "//tank/./a/" }).source_path, "/tank/a")
  })

  it("wants a hook to be a program by its absolute path, with arguments that a program can get", () => {
    const expected = 'the absolute path of a program and its arguments, such as ["/usr/local/bin/dump", "--all"]'
    for (const wrong of ["/x", ["dump"], [], ["/x", 1], ["/x", "a\0b"]]) {
      const [line = "", ...others] = changed({ hooks: { before: wrong } })
      assert.match(line, /^hooks\.before: /)
      assert.include(line, `is not ${expected}`)
      assert.deepStrictEqual(others, [])
    }
    assert.deepStrictEqual(changed({ hooks: { befor: ["/x"] } }), ["hooks.befor: unknown key; did you mean before?"])
    assert.deepStrictEqual(changed({ hooks: { failure: ["/x", "", "a b", "$(c)"] } }), [])
  })

  it("wants a token of its own", () => {
    const placeholder = { gotify: { ...gotify, token: "REPLACE_WITH_TOKEN" } }
    const complaint = "gotify.token: is still REPLACE_WITH_TOKEN; put the token of your Gotify application there"
    assert.deepStrictEqual(changed(placeholder), [complaint])
    assert.deepStrictEqual(changed({ ...placeholder, nice: 99 }), [
      complaint,
      "nice: 99 is not a whole number from -20 to 19"
    ])
    assert.deepStrictEqual(changed({ gotify: { ...placeholder.gotify, token_file: "/etc/token" } }), [])
    assert.isTrue(Either.isRight(decode({ ...minimal, ...placeholder }, { tokenGiven: true })))
    assert.deepStrictEqual(changed({ gotify: { url: gotify.url } }), [
      "gotify.token: is missing; expected it here, in gotify.token_file or in ZIPPER_GOTIFY_TOKEN"
    ])
    assert.strictEqual(asToken("a b"), undefined)
    assert.strictEqual(asToken(""), undefined)
    assert.deepStrictEqual(asToken("abc\n"), Redacted.make("abc"))
  })

  it("never shows a secret in a mistake, whatever is wrong around it", () => {
    const secret = "s3cr3t-value"
    const keys = FastCheck.constantFrom("token", "tokn", "Token")
    const urls = FastCheck.constantFrom(
      `https://me:${secret}@h h/?token=${secret}`,
      `gotify.example.com/message?v&token=${secret}`,
      `gotify.example.com/message?access-token=${secret}`
    )
    FastCheck.assert(
      FastCheck.property(FastCheck.jsonValue(), keys, urls, (junk, key, url) => {
        const found = changed({
          gotify: {
            [key]: `${secret} x`,
            url,
            priority: junk
          },
          mqtt: { host: junk, password: [secret] }
        })
        assert.notInclude(found.join("\n"), secret)
        assert.isNotEmpty(found)
      })
    )
  })

  it("has an example that holds what the documentation explains, and only wants a token", () => {
    assert.strictEqual(readFileSync("config.json.example", "utf8"), example)
    const input: unknown = JSON.parse(example)
    assert.deepStrictEqual(mistakes(input), [
      "gotify.token: is still REPLACE_WITH_TOKEN; put the token of your Gotify application there"
    ])
    assert.deepStrictEqual(input, {
      source_path: "/mnt/tank/source_dataset",
      target_path: "/mnt/tank/target_dataset",
      snapshot_prefix: "auto-zip",
      max_workers: 1,
      retries: 3,
      nice: 10,
      umask: "027",
      lockfile_path: "/var/run/zipper.lock",
      tmp_dir: "/mnt/tank/tmp",
      log_file: "/var/log/zipper.log",
      gotify: {
        url: "https://gotify.example.com/message",
        token: "REPLACE_WITH_TOKEN",
        priority: 5,
        timeout_seconds: 10
      }
    })
    assert.isTrue(Either.isRight(decode(input, { tokenGiven: true })))
  })

  it("shows the effective values, in the usual order, without secrets", () => {
    const document = decoded({
      mqtt: { password: "hush-mqtt", host: "broker" },
      gotify: { ...gotify, url: "https://me:hush-proxy@gotify.example.com/message", token: "hush-token" },
      ping_url: "https://ping.example.com/hush-ping",
      ...minimal
    })
    const text = render(withToken(document, document.gotify?.token))
    assert.notInclude(text, "hush")
    assert.match(text, /"token": "<hidden>"/)
    assert.match(text, /"ping_url": "<hidden>"/)
    assert.match(text, /"url": "https:\/\/gotify.example.com\/message"/)
    const keys = Object.keys(JSON.parse(text))
    assert.deepStrictEqual(keys.slice(0, 4), ["source_path", "target_path", "folders", "exclude"])
    assert.deepStrictEqual(keys.slice(-2), ["replication", "mqtt"])
    assert.deepStrictEqual(decoded(JSON.parse(render(withToken(decoded(minimal), undefined)))), decoded(minimal))
  })
})
