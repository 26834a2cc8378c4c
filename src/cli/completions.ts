import { shellWord } from "../text/Text.ts"
import { type CompletionSource, type Place, shells, tableOf, type Values } from "./completionTable.ts"

/**
 * The script that `zipper --completions SHELL` prints, with every command and option of the tree; undefined for a shell that is
 * not known. For the names in a configuration the script asks `program`, the path of zipper.
 */
export const completions = (shell: string, source: CompletionSource, program: string): string | undefined => {
  const known = shells.find((each) => each === shell)
  return known === undefined ? undefined : scripts[known](tableOf(source), program)
}

type Option = Place["options"][number]

/** As the functions of the scripts take them. */
const wordsOf = ({ kind, of }: Values): ReadonlyArray<string> => [kind, ...of.map((word) => word.replaceAll(" ", "+"))]

const bashPlace = ({ words, commands, options, arguments: args }: Place): string => {
  // An entry: * if it may be repeated, names, and what it takes.
  const entry = (names: ReadonlyArray<string>, { repeated, values }: Omit<Option, "names" | "text">): string =>
    shellWord([`${repeated ? "*" : ""}${names.join(",")}`, ...(values === undefined ? [] : wordsOf(values))].join(" "))
  return `    '${words}')
      commands=(${commands.map(({ name }) => name).join(" ")})
      options=(${options.map((option) => entry(option.names, option)).join(" ")})
      arguments=(${args.map((argument) => entry([], argument)).join(" ")})
      ;;`
}

const bashScript = (
  table: ReadonlyArray<Place>,
  program: string
): string => `# zipper in bash 4.3 or newer: into ~/.bashrc
#   source <(zipper --completions bash)

_zipper_names() {
  local program=${shellWord(program)}
  [[ -x $program ]] || program=zipper
  "$program" --complete "$@" 2>/dev/null </dev/null
}

# Sets commands, options and arguments.
_zipper_place() {
  commands=() options=() arguments=()
  case $1 in
${table.map(bashPlace).join("\n")}
    *) return 1 ;;
  esac
}

# Sets kind to what the option $1 takes; empty for a flag.
_zipper_values() {
  local entry names
  kind=
  for entry in "\${options[@]}"; do
    names=\${entry%% *}
    [[ ,\${names#\\*}, != *",$1,"* || $entry != *' '* ]] || kind=\${entry#* }
  done
}

_zipper() {
  local IFS=$' \\t\\n' line=\${COMP_LINE:0:COMP_POINT} words=() word i
  # Bash cuts words at = and : too. They are put together again.
  for ((i = 0; i <= COMP_CWORD; i++)); do
    if ((i == 0)) || [[ $line == [[:space:]]* ]]; then
      line=\${line#"\${line%%[![:space:]]*}"}
      words+=('')
    fi
    word=\${COMP_WORDS[i]}
    ((i < COMP_CWORD)) || word=$line
    words[-1]+=$word
    line=\${line#"$word"}
  done
  local text=\${words[-1]} before='' place='' option='' config='' used=, rest='' kind='' entry names
  local commands options arguments given=() offered=()
  _zipper_place ''
  for word in "\${words[@]:1:\${#words[@]}-2}"; do
    if [[ $kind ]]; then
      [[ $option != --config && $option != -c ]] || config=$word
      kind=
    elif [[ $rest ]]; then
      given+=("$word")
    elif [[ $word == -- ]]; then
      rest=1
    elif [[ $used == , && ( ! $place && ( $word == --help || $word == -h ) || $word != -* && $commands ) ]]; then
      place=\${place:+$place }$word
      _zipper_place "$place" || return
    elif [[ $word == -* ]]; then
      option=\${word%%=*}
      used+=$option,
      _zipper_values "$option"
      [[ $word != --config=* ]] || config=\${word#*=}
      [[ $word != *=* ]] || kind=
    else
      given+=("$word")
    fi
  done

  if [[ $kind ]]; then
    :
  elif [[ $text == --*=* && ! $rest ]]; then
    before=\${text%%=*}=
    text=\${text#*=}
    _zipper_values "\${before%=}"
    [[ $kind ]] || return
  elif [[ $text != -* || $rest ]]; then
    if [[ $commands && $used == , ]]; then
      kind="words \${commands[*]}"
    elif ((\${#arguments[@]})); then
      entry=\${arguments[\${#given[@]}]-}
      [[ $entry || \${arguments[-1]} != \\** ]] || entry=\${arguments[-1]}
      kind=\${entry#* }
    fi
  fi

  case \${kind:-options} in
    files) compopt -o default; return ;;
    directories) compopt -o dirnames; return ;;
    hosts) mapfile -t offered < <(compgen -A hostname) ;;
    users) mapfile -t offered < <(compgen -A user) ;;
    words*) offered=(\${kind#words}) ;;
    names*) mapfile -t offered < <(_zipper_names "\${kind#names }" "$config") ;;
    phrases*)
      entry=\${given[*]}
      entry=\${entry:+\${entry// /+}+}
      for word in \${kind#phrases}; do
        [[ $word == "$entry"* ]] || continue
        word=\${word#"$entry"}
        offered+=("\${word%%+*}")
      done
      ;;
    options)
      for entry in "\${options[@]}"; do
        names=\${entry%% *}
        for word in \${names//[*,]/ }; do
          [[ $names == \\** || $used != *",$word,"* ]] || continue 2
        done
        for word in \${names//[*,]/ }; do
          [[ $word != --* ]] || offered+=("$word")
        done
      done
      ;;
  esac

  # Bash replaces what follows the last = or :, and leaves a quote where it is.
  local breaks= keep=
  [[ $COMP_WORDBREAKS != *=* ]] || breaks+==
  [[ $COMP_WORDBREAKS != *:* ]] || breaks+=:
  [[ ! $breaks ]] || keep=$before$text keep=\${keep%"\${keep##*[$breaks]}"}
  for word in "\${offered[@]}"; do
    if [[ $kind == names* ]]; then
      printf -v entry %q "$word"
      for i in "\${given[@]}"; do
        [[ $i != "$word" && $i != "$entry" && $i != [\\'\\"]"$word"[\\'\\"] ]] || continue 2
      done
    fi
    case $text in
      \\'*) word=\\'\${word//\\'/\\'\\\\\\'\\'} ;;
      \\"*)
        word=\${word//\\\\/\\\\\\\\} word=\${word//\\"/\\\\\\"} word=\${word//\\$/\\\\\\$}
        word=\\"\${word//\\\`/\\\\\\\`}
        ;;
      *) printf -v word %q "$word" ;;
    esac
    [[ $word == "$text"* ]] || continue
    word=$before$word
    COMPREPLY+=("\${word#"$keep"}")
  done
}
complete -F _zipper zipper
`

/** What zsh's _arguments calls to complete a value. */
const zshAction = ({ kind, of, placeholder }: Values): string => {
  const action: Readonly<Record<Values["kind"], string>> = {
    text: " ",
    files: "_files",
    directories: "_directories",
    hosts: "_hosts",
    users: "_users",
    words: `(${of.join(" ")})`,
    names: ` _zipper_names ${of.join(" ")} ${placeholder}`,
    phrases: ` _zipper_phrases ${wordsOf({ kind, of, placeholder }).slice(1).join(" ")}`
  }
  return `${placeholder.replaceAll(":", "\\:")}:${action[kind]}`
}

const zshPlace = ({ words, commands, options, arguments: args }: Place): string => {
  const specs = options.flatMap(({ names, repeated, text, values }) =>
    names.map((name) => {
      const others = repeated ? "*" : `(${names.join(" ")})`
      const joined = values !== undefined && name.startsWith("--") ? "=" : ""
      const label = text.replace(/[\\[\]:]/g, "\\$&")
      return `${others}${name}${joined}[${label}]${values === undefined ? "" : `:${zshAction(values)}`}`
    })
  )
  const places = args.map(({ repeated, values }) => `${repeated ? "*" : ":"}:${zshAction(values)}`)
  return `    ('${words}')
      commands=(${commands.map(({ name, summary }) => shellWord(`${name}:${summary}`)).join(" ")})
      options=(${[...specs, ...places].map(shellWord).join("\n        ")})
      ;;`
}

const zshScript = (table: ReadonlyArray<Place>, program: string): string => `#compdef zipper
# zipper in zsh: as the file _zipper into a folder of $fpath, or into ~/.zshrc, after compinit
#   source <(zipper --completions zsh)

# Sets commands, and options as _arguments takes them.
_zipper_place() {
  commands=() options=()
  case $1 in
${table.map(zshPlace).join("\n")}
    (*) return 1 ;;
  esac
}

_zipper_names() {
  local config='' word expl i
  for ((i = 2; i < CURRENT; i++)); do
    case $words[i] in
      (--config=*) config=\${words[i]#*=} ;;
      (-c|--config) ((i + 1 == CURRENT)) || config=$words[i+1] ;;
    esac
  done
  local program=${shellWord(program)}
  [[ -x $program ]] || program=zipper
  local -a names=(\${(f)"$($program --complete $1 "$config" 2>/dev/null </dev/null)"}) given=(\${(Q)words[2,CURRENT-1]})
  _wanted names expl $2 compadd -F given -a names
}

# Commands, some of two words: offers the word that comes next.
_zipper_phrases() {
  local expl phrase
  local -a given=(\${words[2,CURRENT-1]:#-*}) offered parts
  for phrase in "$@"; do
    parts=(\${(s:+:)phrase})
    [[ \${#parts} -gt \${#given} && "$parts[1,$#given]" == "$given" ]] && offered+=($parts[$#given+1])
  done
  _wanted commands expl command compadd -a offered
}

_zipper() {
  local curcontext=$curcontext context state state_descr line place=''
  local -A opt_args
  local -a commands options
  _zipper_place ''
  while ((CURRENT > 2)) && [[ -n $commands && $words[2] != -* || -z $place && $words[2] == (-h|--help) ]]; do
    place=\${place:+$place }$words[2]
    _zipper_place $place || return
    shift words
    ((CURRENT--))
  done
  if [[ -n $commands && $CURRENT -eq 2 && $words[2] != -* ]]; then
    _describe -t commands command commands
  else
    _arguments -S : $options
  fi
}

if [[ $funcstack[1] == _zipper ]]; then
  _zipper "$@"
else
  compdef _zipper zipper
fi
`

const fishValues = ({ kind, of }: Values): string =>
  ({
    text: "-x",
    files: "-r -F",
    directories: "-x -a '(__fish_complete_directories (commandline -ct))'",
    hosts: "-x -a '(__fish_print_hostnames)'",
    users: "-x -a '(__fish_complete_users)'",
    words: `-x -a '${of.join(" ")}'`,
    names: `-x -a '(__zipper_names ${of.join(" ")})'`,
    phrases: `-x -a '(__zipper_phrases ${wordsOf({ kind, of, placeholder: "" }).slice(1).join(" ")})'`
  })[kind]

const fishPlace = ({ commands, options, arguments: args }: Place): ReadonlyArray<string> => [
  ...commands.map(({ name, summary }) => `-a ${name} -d ${shellWord(summary)}`),
  ...options.map(({ names, text, values }) => {
    const flags = names.map((name) => (name.startsWith("--") ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`))
    return [...flags, ...(values === undefined ? [] : [fishValues(values)]), `-d ${shellWord(text)}`].join(" ")
  }),
  ...args.flatMap(({ values }) => (values.kind === "text" ? [] : [fishValues(values).replace(/^-[rx] /, "")]))
]

const fishScript = (table: ReadonlyArray<Place>, program: string): string => {
  // A line for all places that have the same.
  const lines = new Map<string, ReadonlyArray<string>>()
  for (const place of table) {
    for (const line of fishPlace(place)) lines.set(line, [...(lines.get(line) ?? []), place.words])
  }
  const groups = table.filter(({ words, commands }) => words !== "" && commands.length > 0).map(({ words }) => words)
  return `# zipper in fish: zipper --completions fish >~/.config/fish/completions/zipper.fish

function __zipper_names
    set -l words (commandline -opc)
    set -l config
    for i in (seq 2 (count $words))
        switch $words[$i]
            case '--config=*'
                set config (string replace -- --config= '' $words[$i])
            case --config -c
                set config $words[(math $i + 1)]
        end
    end
    set -l program ${shellWord(program)}
    test -x $program; or set program zipper
    # fish has taken the quotes off; zipper takes them off for the other shells.
    set config (string replace -ra -- '[\\'"\\\\\\\\]' '\\\\\\\\$0' "$config")
    $program --complete $argv[1] "$config" 2>/dev/null </dev/null
end

# The words of the command that is typed: "" before it, run where an option comes first.
function __zipper_place
    set -l words (commandline -opc)
    switch "$words[2]"
        case '' --completions
            echo ''
        case -h --help
            echo $words[2]
        case '-*'
            echo run
        case ${groups.join(" ")}
            echo (string join ' ' -- $words[2..3])
        case '*'
            echo $words[2]
    end
end

# Commands, some of two words: offers the word that comes next.
function __zipper_phrases
    set -l words (commandline -opc)
    set -l before (string join + -- (string match -v -- '-*' $words[3..]) '')
    for phrase in $argv
        string match -q -- "$before*" $phrase
        and string sub -s (math (string length -- "$before") + 1) -- $phrase | string split -f1 +
    end
end

function __zipper_at
    contains -- (__zipper_place) $argv
end

complete -c zipper -f
${[...lines].map(([line, places]) => `complete -c zipper -n "__zipper_at ${places.map((words) => `'${words}'`).join(" ")}" ${line}`).join("\n")}
`
}

const scripts: Readonly<Record<(typeof shells)[number], typeof bashScript>> = {
  bash: bashScript,
  sh: bashScript,
  zsh: zshScript,
  fish: fishScript
}
