/**
 * Words for a shell that we do not know: sshd hands the command line to the login shell of the user, which is sh, bash
 * or zsh here, csh or tcsh on FreeBSD, fish for somebody else. What is used here means the same to all of them.
 */

/**
 * One word, which the shell takes as it stands. A newline cannot be told to every shell, and NUL to none; no name of zfs
 * holds either.
 */
export const quote = (word: string): string => {
  if (/^[A-Za-z0-9_./:@,-]+$/.test(word)) return word
  // A backslash is one inside quotes for sh, and not for fish; csh looks for `!` even there. Both stand outside.
  const parts = word.match(/[^'\\!]+|['\\!]/g) ?? [""]
  return parts.map((part) => (/^['\\!]$/.test(part) ? `\\${part}` : `'${part}'`)).join("")
}

/** A command line. */
export const commandLine = (words: ReadonlyArray<string>): string => words.map(quote).join(" ")
