// What the manual says beyond the options of a command. A text that begins with four spaces is shown as it is typed.

/** Paragraphs by the command that they belong to, `run`; of a group of commands by its first. `freebsd` and `hooks` are topics of their own. */
export const reference: Readonly<Record<string, ReadonlyArray<string>>> = {
  run: [
    "A run takes a snapshot, lists the folders, finds those that are due, and archives each of them: written, read back and compared, hashed, published. Then it destroys the snapshots of its own that are not needed any more: the newest stays, and snapshot_keep more. It destroys only snapshots that carry its property and a name of its form, and none of a run that is alive.",
    'Which folders: folders of the configuration is a regular expression for the whole name, four upper-case letters or digits unless it says otherwise; "[^.].*" takes every one. A name may be any text of at most 100 bytes without a slash or control character that neither begins with a dot nor ends in .prev. A folder that is asked for and has another name is not archived, and each run warns of it. Archives of names that folders does not ask for any more stay, and status, verify and restore know them by the state beside them. Two names that the target takes for one (by case, say) are refused before anything is archived.',
    "How a folder is found to be due: with the snapshot of the run before still there, one zfs diff says what changed. Otherwise, or without permission for it, path, kind, size, mode, mtime, ctime and inode of each file are compared (compare: mtime leaves the last two out). A folder that failed stays due, and so does one whose archive, checksums or metadata are missing or are not those that the last run knew. Where zfs diff itself fails, every folder is compared. With exclude or exclude_caches, a folder that zfs diff calls changed is compared too: what changed may be excluded.",
    "exclude names what is left out of every folder, by the patterns of restore --only: *.tmp and cache are the name of any one part, /cache is at the top of a folder, photos/**/raw a whole path. What matches is not read, and a directory that matches is not entered: an unreadable file there fails nothing, nor does a mount. It is in no zip and in no metadata; the line of the folder counts it (12 excluded), a directory once. A name that is not UTF-8 matches by the name that it has in an archive, such as caf%E9. With exclude_caches, of a directory with a file CACHEDIR.TAG (https://bford.info/cachedir/) only that file is archived, as by tar --exclude-caches.",
    "Other rules make every folder due once. A change of what is excluded makes none due, but for one thing: a name that comes or goes changes the time of the directory that it is in, and that is archived. So exclude a directory that changes every hour (cache), not what is in it (cache/**). A folder of which exclude leaves no file fails: there is nothing to archive; zipper run --force --folder ABCD accepts that.",
    "What did not change is copied from the archive before, compressed as it is, after that archive was read and found to be the one that was published. The result is byte for byte the archive that compressing everything anew gives. --force compresses everything anew.",
    "A file that cannot be read fails its folder, by name, and the archive before stays. So does a child dataset that is locked or not mounted, a place in a folder that was a mount of its own when the folder was last archived and is not now, a folder that had files and has none, and a folder that became a symlink or a file. zipper run --force --folder ABCD accepts it as it is.",
    "A run does not begin where a dataset that belongs at target_path or above it is not mounted, where target_path or tmp_dir leads into the source, or where a disk or share that source or target lay on at the last run is not mounted; the message names what to mount, or the file to remove where that is meant.",
    "Errors that may pass are tried again (retries); a full disk and a missing permission are not. A run that a signal ends cleans up; after kill -9 or a power cut the next run finishes or undoes what was left.",
    "As another user than root, a run needs these rights on the dataset that is archived:",
    "    zfs allow -u backup snapshot,destroy,mount,diff,userprop tank/data",
    "target_snapshots is for more than two generations, on a target on ZFS. When the archives are not those of its newest snapshot, a run takes one, of the target's dataset and of all that are mounted at its folders together (<snapshot_prefix>-target-20250101120000, property zipper:target). Then it destroys those of this job that the numbers do not keep, by the rules of zipper prune: never the newest, nor one that is held or cloned. Where one cannot be taken, what was published stays, the exit status is 1, and the next run takes it. Where the target is replicated, keep them for longer than the time between two replications. Rights:",
    "    zfs allow -u backup snapshot,destroy,mount,userprop tank/target",
    "On a terminal it shows how far it is: bytes, rate and time left, for the run and for each folder. A folder is done when its zip has been read back."
  ],
  status: [
    "The last success is the last time that a folder was archived or found unchanged, a dataset sent or found up to date. The attempt is there when it came later and failed. PREV is the age of the archive before. A run that is at work and one that was killed are shown.",
    "It reads what runs left, changes nothing, takes no lock and asks no zfs. The user has to be allowed to read the target. How far back the snapshots of the target go is what the last run found. A run that cannot write in the target (full, read-only, away) keeps how it ended beside its lock file, and status and report find it there.",
    "With --max-age it exits 1 when something had no success for longer than that, never had one, or has one in the future, and says what. A folder that no run has seen yet counts only when the job's own last success is that old. Folders that are gone from the source do not count. An archive whose zip is gone (ARCHIVE LOST) counts however recent the last success is.",
    "metrics_file is written after each run, for the textfile collector of Prometheus's node_exporter (mode 0644, a name that ends in .prom): zipper_last_success_timestamp_seconds, zipper_last_attempt_timestamp_seconds, zipper_last_attempt_failed, zipper_last_duration_seconds and zipper_last_bytes by job and folder or dataset; zipper_archive_bytes and zipper_archive_files by folder; zipper_last_run_timestamp_seconds, zipper_last_run_success_timestamp_seconds, zipper_last_run_duration_seconds, zipper_last_run_bytes, zipper_last_run_failures and zipper_last_run_outcome by job. One file belongs to one configuration. Worth an alert:",
    "    time() - zipper_last_success_timestamp_seconds > 26 * 3600",
    "ping_url is called as healthchecks.io has it: <url>/start when a run begins, <url> when all went well, <url>/fail with the reasons when it did not, could not begin or was stopped. It is a secret, and never shown. A ping that does not get through is a warning. A run of chosen folders (--folder) sends no ping, and verify only that of a failure.",
    "A message is sent when a folder, a dataset, an archive or a whole job begins to fail, when the reason changes (numbers in it do not count), and once in reminder_hours while it fails. With recovery in notify_on, another one is sent when it works again. A message that could not be delivered is an error on standard error, also with --quiet, is shown by status and report, and is sent with the next run.",
    "Each run is a line of JSON in <target_path>/.zipper/history.jsonl. A file of 4 MiB gets a name of its own (history-...), and four of those are kept. Dry runs, and runs that found the lock held, leave no line; the line of one that was killed is written by the next."
  ],
  report: [
    "One web page that needs nothing beside it and fetches nothing: what needs a look, each job day by day, sizes and durations over time, every folder and replica, failures with their messages, the last runs. Without JavaScript everything but the charts.",
    "The page that was there is replaced at once and whole, and keeps its mode; a new one goes by umask. Only a report of zipper's or an empty file is replaced, and nothing is written in target_path or source_path, nor at the place of the configuration, the lock, the log or the metrics. Where target_path is not there it fails, and the old page stays.",
    "From cron, after the run and a semicolon, so that a run that failed has a new page too:",
    "    5 * * * * root flock -n /run/zipper.cron.lock /usr/local/bin/zipper run --quiet; zipper report --out /var/www/zipper.html -q"
  ],
  verify: [
    "It reads every byte: each entry's CRC-32 and size, both headers, the names, both checksums against the exact content of the checksum files, the metadata against the contents and against .state.json. One flipped bit is found and the damaged file named, with the entry or the key where that is known. A file that cannot be read counts as damaged. Without names it takes every folder that has archives, or had some.",
    "good: all of it is what was published. damaged: it is not. missing: the zip is not there, even if its other files are. unsettled: it was being published all the time, a publication was interrupted, or its folder cannot be looked at. foreign: another program made the zip, and its checksums are right; that is no failure, and unzip -t is for its entries.",
    "It writes what it found to the state of the job (status, report and metrics show it) and sends a message for what is not good. It takes no lock, and a run may publish meanwhile: what was replaced while it was being read is read again. Exit status 0 says that all archives are good; 1 that one is not, or that there is nothing to verify.",
    "Where an archive is damaged the folder's other one is read too, and the advice names it only if it is good. A folder that was removed for good, from source and target, is forgotten with rm <target_path>/.zipper/index/ABCD."
  ],
  ls: [
    "A line for each file and folder, in the order of the bytes of their names: mode, size, time (UTC), name. A folder's name ends in a slash. What a terminal would not show is escaped, such as \\x0a for a newline; --json has the name as it is. Patterns are those of restore --only; one that matches nothing is named, with status 1.",
    "It reads the central directory of the zip, and neither checksums nor contents: zipper verify does that. Where that list is damaged, what can be read is shown, and the status is 1."
  ],
  restore: [
    "The content of one folder goes to DIR itself, that of several, or with --all, to DIR/ABCD, ... Every archive is checked, and all of DIR looked at, before the first file is written; what is in the way of one folder stops all of them. Of several archives one that is damaged or missing is named, the others are restored, and the status is 1. A pattern of --only has to mean something in one of them.",
    "--from TARGET is for when the disk with the archives is all there is: it needs no configuration, takes a disk that is mounted read-only, and writes neither state nor log. A publication that was interrupted when the machine stopped is left as it is.",
    "--at reads from a snapshot of the target, and says which: any one by its name (with or without DATASET@), or the newest of zipper's (target_snapshots) that is not younger than a time: 2026-11-28T10:00, local unless it ends in Z or an offset; 2026-11-28, its beginning; 3d or 12h ago. --prev with it is the archive before the one that was current then. ls and verify take it too; what verify finds there is not remembered, and no message is sent.",
    "Before anything is written, the archive is checked: digests, checksum files, metadata, every header and name. One that is not what was published is not restored. Where the zip is good and only a file beside it is damaged, that is a warning. A zip that was made to do harm (names that lead out of the folder or stand there twice, symlinks, sizes that cannot be, entries that overlap) is refused.",
    "Nothing is written over: every name is looked for first, and if one is taken nothing is written. --overwrite replaces regular files, each by one that is complete, and never a folder, a symlink or a device. Nothing is written where there is certainly not enough room, or in the folder of the archives, and no symlink below the folder is followed. Names that the file system there cannot tell apart are found before anything is written.",
    "Each file's size and CRC-32 are checked while it is written. A file that fails is removed and named, the others go on, and in the end the folder is called INCOMPLETE, with status 1. A signal removes the files that were being written. After kill -9 such a file may be cut off; with --overwrite it is called .zipper-restore-... instead, and the next restore with --overwrite removes it.",
    "Patterns of --only: * is anything but a slash, ** anything, ? one character. A pattern without a slash is the name of any one part, one that begins with a slash begins at the top. What is below comes along. A backslash takes the next character as it is. A pattern that matches nothing stops the restore before anything is written.",
    "Modes and times are those of the archive, to the second; setuid and setgid bits are not restored, and a warning names them. Owners, ACLs, extended attributes and symlinks are not in a zip. What takes the place of another file is synced first; the rest is not synced."
  ],
  "config init": [
    "On a terminal it offers the datasets that it finds, holds each answer to the rules of the configuration, and writes nothing before the last one. With options it asks nothing, and names all that is wrong with them at once. With neither it writes an example to be edited (source_path, target_path, gotify). It lists which folders of the source will be archived and which will not, and asks for folders, the rule for their names, where the usual one takes none. It replaces no file. Beside the configuration it writes an example that explains every key, with a name that ends in .example.jsonc."
  ],
  pull: [
    "A pull writes to <destination>/<host>/<dataset>. A push takes --strip-prefix off each name and writes below --destination. Each dataset goes with everything below it, each on its own, parents first. One that fails stops only those below it.",
    "The first time the earliest snapshot goes in full, then everything up to the newest; later from the latest common snapshot, or from a bookmark of it. Snapshots match by guid and order by createtxg: names and clocks decide nothing. zipper takes no snapshots for it. Keep those of the source for longer than the time between two runs; where the latest common one is destroyed before, the run refuses, unless there is a bookmark of it.",
    "A push is raw (zfs send -w): what is encrypted stays encrypted, and its key is not needed there; --no-raw decrypts. A pull is plain unless --raw. The way is remembered on the replica (property zipper:send), and a change of it is refused.",
    "A stream that was cut goes on where it was: within the run when the connection comes back, else in the next. Where nothing moves for ten minutes there is a warning, and after four hours the stream is ended.",
    "A replica is never mounted (canmount=off). A replica may have snapshots that its source has not: those older than the latest common one stay. Where going on would destroy something (snapshots after the latest common one, files written to the replica, a dataset with files and no snapshot), the run refuses with status 4, lists exactly what would be lost, and goes on with the other datasets. --rollback allows it, on the command line only, and destroys exactly what was listed; held and cloned snapshots not even then. To keep both, rename the replica (zfs rename): the next run starts a new one.",
    "A dataset that the job names fails when it is gone, or when neither it nor anything below it has a snapshot. A run warns when a dataset below has no snapshot, the source of a replica is gone, or a dataset gets no snapshots any more that used to get them.",
    "Patterns of --exclude: * is anything but a slash, ** anything, ? one character; a pattern without a slash is the name of any one part (cache), one with a slash the whole name (tank/vm/**). What is below goes with it. --bandwidth needs pv or mbuffer here, --compress zstd needs zstd on both hosts.",
    "The lock goes by direction, host and destination: zipper.pull-nas-tank_backup.lock, beside lockfile_path. A replication keeps neither the archive job nor a replication to another place out. Where the command line says everything and names no --config, the lock is in /var/run for root, else in $XDG_RUNTIME_DIR or $HOME.",
    "Getting files back. A replica that is mounted is written to (times of access), and the next run then refuses. Look at a clone:",
    "    zfs clone -o mountpoint=/mnt/look tank/backup/nas/tank/data@daily-2025-01-01 tank/look",
    "A whole dataset goes back with a push or pull in the other direction. It arrives unmounted, with zipper's mark on it; to use it, there, for each dataset:",
    "    zfs set canmount=on tank/restored && zfs inherit zipper:send tank/restored && zfs mount tank/restored",
    "A raw replica of an encrypted dataset is unlocked with the key that the original had when the last stream was sent. Since each dataset is sent on its own, each is its own encryption root there. In a restored copy, once they are unlocked, children can be joined to their parent again:",
    "    zfs load-key tank/restored && zfs load-key tank/restored/child\n    zfs change-key -i tank/restored/child",
    "Never join a replica that is still written to: a raw stream puts the key of its source into it, while ZFS goes on asking for the key of the dataset that it was joined to; then no key opens it. A run refuses such a stream (status 4)."
  ],
  push: ["What the manual says of replicas under zipper pull holds for a push, too."],
  prune: [
    "The newest snapshot of each of the last N hours, days, weeks and months (UTC) stays. It never destroys the newest snapshot, the newest that the source still has, or one that is held or cloned, and nothing at all when it cannot ask the source. With --job or --config, each push job that sends these replicas on is asked too: the newest snapshot that its host has in common with the replica stays. It takes the locks of these jobs, and ends with status 75 while one of them is at work.",
    "zipper cannot know of other readers, such as a host that pulls from here: use zfs hold or zfs bookmark for what they need."
  ],
  prepare: [
    "The dataset is made with canmount=off, acltype=posix and xattr=sa; one that is there gets these properties (OpenZFS 2.3 prints xattr=sa as on). With --host it is made on that host."
  ],
  delegate: [
    "Rights are set on the datasets that are named, and hold for everything below them. With the roles receive and prepare a dataset may be missing: then they go on the nearest dataset above it. Root needs none. On Linux only root can mount, which is no obstacle for replicas."
  ],
  suspend: [
    "MQTT_HOST, MQTT_PORT, MQTT_USERNAME and MQTT_PASSWORD name the broker, or the section mqtt of a configuration. A message that the broker denies is a failure (MQTT 5; a broker that speaks 3.1.1 only cannot say so, and suspend says that)."
  ],
  schema: [
    "Every command but schema and help takes --json: one document on standard output and nothing else there; the lines for a person go to standard error. The first key is version, 1; it goes up when a reader of the version before would misread the document, and a new key is no reason for that. A command that cannot begin prints version and errors. Keys are in snake_case, sizes in bytes, times in seconds and UTC."
  ]
}

/** What differs there, for the section and `zipper help freebsd`. */
export const freebsd: ReadonlyArray<string> = [
  "Written for FreeBSD, not yet run on it: zipper check says so there. zipper demo --dataset POOL/SCRATCH, with an empty dataset, tries all of it on a machine; its output is a useful report of what does not work. What differs from Linux:",
  "Lock: the kernel locks the file while it is opened (O_EXLOCK). Linux needs the program flock, or takes a socket in its place.",
  "Mounts: the list comes from the program mount, and a mount that shows a part of another file system (nullfs) is known by its device number alone. Linux has /proc/self/mountinfo. A .zfs that is visible is known by its inode: 1 there.",
  "Runs that are alive: the start of a process comes from ps -o lstart=, so that the run that had a pid before is not taken for one that is alive. Linux has /proc.",
  "Folders that another user swaps: without /proc/self/fd a folder is looked at again, by device and inode, right before it is used; a moment between the two stays.",
  "Syslog: logger has no option for the size of a message there, and a long line comes in pieces.",
  "Cron: zipper check prints lines for /etc/crontab, with lockf in place of flock. The configuration is /usr/local/etc/zipper.json when no other is named.",
  "Free space: a negative number, when the reserve of root is in use, counts as none. Errors such as EINTEGRITY have their own numbers there.",
  "Not there at all: the notice of a run that hangs in the kernel, nohup that is recognised by more than its name and its output file, and the limit of ulimit -v for the number of threads; each needs /proc."
]

/** For the section of zipper.json(5) and `zipper help hooks`. */
export const hooks: ReadonlyArray<string> = [
  "A hook is a program with its arguments, without a shell: what needs a shell is a script. A secret belongs into a file: ps, config show and a dry run show the arguments. before and after belong to zipper run, failure to every command that sends messages (run, pull, push, prune, verify, notify-test).",
  "before runs when the run has its locks, and before it looks at source and target: it may mount them, and what it writes to the source is in the snapshot. When it fails, nothing else is done, and the run ends with status 3. after runs at the end of each run, a failed one and one that a signal stopped included, also when before failed; not when another run held the lock, and not after kill -9. When it fails, the run ends with status 1.",
  "failure gets each message that Gotify would get: when something begins to fail, once in reminder_hours while it does, and what else notify_on asks for. With Gotify configured too, a message goes both ways. Where the hook fails, the message counts as not delivered there: an error, shown by status, and tried again after the next run. zipper notify-test tries it.",
  "A program that is not there or cannot be executed is found before a run does anything (status 3), and by zipper check. A dry run names the hooks that would run.",
  "Each runs in / with the environment of zipper (no token or password of it), its umask and nice. Its output goes to the log, that on standard error as warnings, 100 KB at most. One that takes longer than hook_timeout_seconds (after a signal: half a minute) is ended with all that it started: SIGTERM, then SIGKILL after five seconds. So is one that runs when a signal stops zipper. A program that it leaves in the background when it ends stays.",
  "On standard input it gets one JSON document (zipper schema hook); it need not read it. The texts at the top are variables, too: ZIPPER_EVENT (before, after, failure, success, recovery, test), ZIPPER_HOST, ZIPPER_JOB, ZIPPER_TASK (run, prune, verify), ZIPPER_RUN, ZIPPER_OUTCOME (of after: ok, failed, not_started, interrupted), ZIPPER_TITLE, ZIPPER_MESSAGE. result is what the command prints with --json.",
  '    { "version": 1, "event": "failure", "host": "nas",\n      "job": "archive", "task": "run",\n      "title": "zipper: 1 of 12 folders failed on nas",\n      "message": "- MAIL: cannot read inbox/17: …",\n      "result": { "version": 1, "dry_run": false, … } }',
  "Mail, with the sendmail of postfix, exim or msmtp. The configuration, and the script /usr/local/bin/zipper-mail (chmod 755):",
  '    "hooks": { "failure": ["/usr/local/bin/zipper-mail", "me@example.com"] }',
  "    #!/bin/sh\n    { printf 'To: %s\\nSubject: %s\\n' \"$1\" \"$ZIPPER_TITLE\"\n      printf 'Content-Type: text/plain; charset=utf-8\\n\\n'\n      printf '%s\\n' \"$ZIPPER_MESSAGE\"\n    } | /usr/sbin/sendmail -t",
  "ntfy, with curl, in a script:",
  '    #!/bin/sh\n    exec curl -fsS -H "Title: $ZIPPER_TITLE" --data-raw "$ZIPPER_MESSAGE" \\\n      https://ntfy.sh/my-topic',
  "A webhook that takes JSON needs no script:",
  '    "failure": ["/usr/bin/curl", "-fsS", "--data-binary", "@-",\n      "-H", "Content-Type: application/json", "https://example.com/hook"]',
  "A database in the snapshot: SQLite, or PostgreSQL as its own user, who has to be allowed to write there.",
  '    "before": ["/usr/bin/sqlite3", "/srv/app/app.db",\n      ".backup /mnt/tank/data/DUMP/app.db"]',
  '    "before": ["/usr/sbin/runuser", "-u", "postgres", "--", "pg_dump",\n      "-Fc", "-f", "/mnt/tank/data/DUMP/app.dump", "app"]'
]
