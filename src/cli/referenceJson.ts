/** An example of what a command prints with `--json`, as the manual shows it, and what is to be known of its keys. */
interface JsonExample {
  readonly note: string
  readonly document: string
}

/** By command. A test holds each document to its schema. */
export const jsonExamples: Readonly<Record<string, JsonExample>> = {
  run: {
    note: "copied_files are those that were taken over from the archive before, compressed as they are; left_out is what lies in the folder and is in no archive.",
    document: `{
  "version": 1, "dry_run": false, "run": "ab12cd",
  "source": "tank/data@auto-zip-20250101120000",
  "started_at_utc": "2025-01-01T12:00:00Z", "seconds": 12.3,
  "archived": 1, "unchanged": 1, "failed": 1, "bytes": 1048576,
  "zip_bytes": 524288,
  "folders": [
    {
      "folder": "ABCD", "result": "archived",
      "reason": "changed", "files": 12, "bytes": 1048576,
      "zip_bytes": 524288, "copied_files": 10,
      "left_out": {
        "symlinks": 0, "fifos": 0,
        "sockets": 0, "devices": 0,
        "excluded": 0
      },
      "seconds": 1.2
    },
    { "folder": "EFGH", "result": "unchanged" },
    {
      "folder": "IJKL", "result": "failed",
      "error": "cannot read …"
    }
  ]
}`
  },
  status: {
    note: "outcome is ok, failed, not_started or interrupted. died is a run that began and never ended, locked says which other process has the lock that a run needs. overdue depends on --max-age; lost (a run archived it, and its zip is not there) does not.",
    document: `{
  "version": 1, "at_utc": "2025-01-01T12:30:00Z",
  "max_age_seconds": 93600, "overdue": 1, "lost": 0, "damaged": 0,
  "bad_replicas": 0,
  "archive": {
    "source": "/mnt/tank/data",
    "target": "/mnt/tank/target", "source_problem": null,
    "undelivered": [],
    "last_run": {
      "run": "ab12cd",
      "started_at_utc": "2025-01-01T12:05:00Z",
      "seconds": 12.3, "outcome": "failed",
      "error": null, "bytes": 1048576,
      "failures": 1
    },
    "running": null, "locked": null, "locked_out": null,
    "died": null, "overdue": false,
    "target_snapshots": {
      "count": 31,
      "oldest_utc": "2024-06-30T22:05:09Z",
      "newest_utc": "2025-01-01T12:05:12Z"
    },
    "folders": [
      {
        "folder": "DOCS",
        "last_success_utc": "2025-01-01T12:05:00Z",
        "last_attempt_utc": "2025-01-01T12:05:00Z",
        "error": null, "overdue": false,
        "result": "unchanged", "files": 12,
        "bytes": 1048576,
        "zip_bytes": 524288,
        "previous": {
          "zip_bytes": 524100,
          "archived_at_utc": "2024-12-31T12:05:01Z",
          "verified": null
        },
        "gone": false, "due": null,
        "lost": false,
        "verified": {
          "at_utc": "2025-01-01T06:00:00Z",
          "result": "good",
          "problem": null
        }
      },
      {
        "folder": "MAIL",
        "last_success_utc": null,
        "last_attempt_utc": "2025-01-01T12:05:00Z",
        "error": "cannot read …",
        "overdue": true, "result": "failed",
        "files": null, "bytes": null,
        "zip_bytes": null, "previous": null,
        "gone": false,
        "due": "its last attempt failed",
        "lost": false, "verified": null
      }
    ],
    "unread": []
  },
  "replication": [
    {
      "job": "nas", "direction": "pull", "host": "nas",
      "undelivered": [], "last_run": null,
      "running": {
        "pid": 4711,
        "since_utc": "2025-01-01T12:10:00Z"
      },
      "locked": null, "locked_out": null, "died": null,
      "overdue": false, "verify_failures": [],
      "datasets": [
        {
          "dataset": "tank/data",
          "target": "tank/backup/nas/tank/data",
          "last_success_utc": "2025-01-01T03:10:00Z",
          "last_attempt_utc": "2025-01-01T03:10:00Z",
          "error": null, "overdue": false,
          "result": "sent",
          "bytes": 1048576,
          "verified": {
            "at_utc": "2025-01-01T07:00:00Z",
            "read_utc": null,
            "problem": null
          }
        }
      ]
    }
  ]
}`
  },
  check: {
    note: "status is ok, warning or problem. With a problem a run fails, as a whole or for one dataset, and there are no lines for cron.",
    document: `{
  "version": 1, "ok": true,
  "findings": [
    {
      "subject": "source", "status": "ok",
      "detail": "/mnt/tank/data, dataset tank/data"
    },
    {
      "subject": "gotify", "status": "warning",
      "detail": "not configured: no message is sent about a failure"
    }
  ],
  "crontab": "/etc/cron.d/zipper",
  "cron": [
    {
      "command": "run", "job": null, "schedule": "58 * * * *",
      "user": "root",
      "shell": "flock -n … zipper run --quiet",
      "line": "58 * * * * root flock -n … zipper run --quiet"
    }
  ]
}`
  },
  verify: {
    note: "result is good, foreign (of another program, and its checksums are right), damaged, missing or unsettled; which is current or previous.",
    document: `{
  "version": 1, "which": "current", "good": 1, "foreign": 0,
  "damaged": 1, "missing": 0, "unsettled": 0, "bytes": 3113851289,
  "seconds": 18.2,
  "folders": [
    {
      "folder": "DOCS", "result": "good", "files": 1204,
      "bytes": 3650722201, "zip_bytes": 3113327001,
      "seconds": 12.1, "findings": []
    },
    {
      "folder": "MAIL", "result": "damaged", "files": 12,
      "bytes": 1048576, "zip_bytes": 524288,
      "seconds": 0.1,
      "findings": [
        {
          "file": "MAIL.zip",
          "entry": "\\"inbox/17\\"",
          "problem": "its CRC-32 is wrong"
        },
        {
          "file": "MAIL.zip",
          "problem": "is not what was published: …"
        }
      ]
    }
  ]
}`
  },
  report: {
    note: "problems is what needs a look, unreadable_lines counts lines of the history.",
    document: `{
  "version": 1, "file": "/var/www/zipper.html", "bytes": 166430,
  "made_at_utc": "2025-01-01T12:30:00Z", "days": 90, "runs": 2160,
  "ok": false,
  "problems": [
    {
      "subject": "MAIL",
      "problem": "cannot read inbox/17: input/output error (EIO)"
    }
  ],
  "unreadable_lines": 0
}`
  },
  ls: {
    note: "kind is file or directory; original is there where a name in the source is no UTF-8 text. Without ABCD: version, archive and folders, each with folder, zip_bytes, files, bytes, archived_at_utc and, where its archive is missing, problem.",
    document: `{
  "version": 1, "archive": "current", "folder": "ABCD",
  "zip": "/mnt/tank/target/ABCD/ABCD.zip",
  "archived_at_utc": "2025-01-01T12:00:00Z",
  "entries": [
    {
      "name": "photos/a.jpg", "kind": "file",
      "size": 1048576,
      "modified_at_utc": "2024-07-01T09:30:00Z",
      "mode": "0640"
    }
  ],
  "files": 1, "bytes": 1048576, "problems": []
}`
  },
  restore: {
    note: "For several folders, or with --all, the document has version, dry_run, result (incomplete unless all folders have the same) and restores, a list with one such object a folder. result is restored, incomplete or refused: then nothing was written, conflicts has what is in the way (path, what it is, what is wanted there), and problems says why. All figures are of what was done, also when a signal stopped it (incomplete). The kind of a failure is missing, kept (the file that was to be replaced is there, unchanged) or attributes (it is there without its mode or time).",
    document: `{
  "version": 1, "dry_run": false, "folder": "ABCD",
  "archive": "current", "zip": "/mnt/tank/target/ABCD/ABCD.zip",
  "result": "incomplete", "directory": "/mnt/tank/back", "files": 11,
  "bytes": 1048000, "folders": 3, "replaced": 0, "seconds": 1.2,
  "conflicts": { "count": 0, "first": [] },
  "failures": {
    "count": 1,
    "first": [
      {
        "path": "a/b.txt", "kind": "missing",
        "error": "its CRC-32 is wrong"
      }
    ]
  },
  "problems": [
    "a/b.txt: its CRC-32 is wrong",
    "/mnt/tank/back is INCOMPLETE: …"
  ]
}`
  },
  "config validate": {
    note: "Every mistake at once.",
    document: `{
  "version": 1, "file": "/etc/zipper.json", "valid": false,
  "problems": ["max_worker: unknown key; did you mean max_workers?"],
  "warnings": []
}`
  },
  pull: {
    note: "result is sent, up_to_date, nothing_to_send (a dataset without snapshots), refused or failed; how is full, incremental or resumed. bytes counts what was sent, also of datasets that failed. A dataset that --rollback took back has rolled_back, with what it lost.",
    document: `{
  "version": 1, "dry_run": false, "job": "nas", "direction": "pull",
  "host": "nas", "run": "ab12cd",
  "started_at_utc": "2025-01-01T01:10:00Z", "seconds": 12.3,
  "sent": 1, "up_to_date": 1, "nothing_to_send": 0, "refused": 1,
  "failed": 1, "bytes": 1048576,
  "datasets": [
    {
      "dataset": "tank/data",
      "target": "tank/backup/nas/tank/data",
      "result": "sent", "how": "incremental",
      "snapshots": 3, "bytes": 1048576, "seconds": 1.2
    },
    {
      "dataset": "tank/home",
      "target": "tank/backup/nas/tank/home",
      "result": "up_to_date"
    },
    {
      "dataset": "tank/vm",
      "target": "tank/backup/nas/tank/vm",
      "result": "refused", "error": "…", "bytes": 0,
      "would_lose": {
        "snapshots": ["manual"], "bytes": 0
      }
    },
    {
      "dataset": "tank/x",
      "target": "tank/backup/nas/tank/x",
      "result": "failed", "error": "…", "bytes": 0
    }
  ]
}`
  },
  push: {
    note: "The keys are those of pull.",
    document: `{
  "version": 1, "dry_run": false, "job": "offsite",
  "direction": "push", "host": "offsite.example.com", "run": "ab12cd",
  "started_at_utc": "2025-01-01T01:10:00Z", "seconds": 12.3,
  "sent": 1, "up_to_date": 0, "nothing_to_send": 0, "refused": 0,
  "failed": 0, "bytes": 1048576,
  "datasets": [
    {
      "dataset": "tank/backup/nas",
      "target": "pool/replicas/nas", "result": "sent",
      "how": "full", "snapshots": 1, "bytes": 1048576,
      "seconds": 1.2
    }
  ]
}`
  },
  prune: {
    note: "destroyed, kept and failed count snapshots, not_found datasets.",
    document: `{
  "version": 1, "dry_run": false, "job": "nas", "direction": "pull",
  "host": "nas", "run": "ab12cd",
  "started_at_utc": "2025-01-01T05:10:00Z", "seconds": 2.5,
  "destroyed": 1, "kept": 40, "failed": 0, "not_found": 1,
  "replicas": [
    {
      "dataset": "tank/data",
      "target": "tank/backup/nas/tank/data",
      "result": "pruned", "destroyed": ["hourly-1"],
      "kept": 40
    },
    {
      "dataset": null, "target": "…",
      "result": "left_alone",
      "reason": "its source is gone: …", "destroyed": []
    },
    {
      "dataset": "tank/new", "target": "…",
      "result": "no_replica",
      "reason": "there is no replica of it …",
      "destroyed": []
    },
    {
      "dataset": "tank/typo", "target": "…",
      "result": "not_found",
      "error": "there is no such dataset …",
      "destroyed": []
    }
  ]
}`
  }
}
