// copse completion: the script a shell reads, made from commands.ts.

import { commands, type CommandShape } from "./commands.ts";
import type { Flag } from "./flags.ts";
import { print } from "./print.ts";
import { status } from "./status.ts";

const shells: Readonly<Record<string, () => string>> = { bash, zsh, fish };

export async function runCompletion(shell: string): Promise<number> {
  const make = shells[shell];
  // args.ts lets only known shells through.
  if (!make) return status.trouble;
  await print([make()]);
  return status.equal;
}

/** `-q, --quiet` → short `-q`, long `--quiet`; `takes` says whether a value follows. */
interface Named {
  readonly short: string | undefined;
  readonly long: string;
  readonly takes: boolean;
  readonly flag: Flag;
}

function flagsOf({ groups }: CommandShape): Named[] {
  const own = Object.values(groups).flat();
  const isTaken = own.some(({ flags }) => flags.startsWith("-h,"));
  const help: Flag = { flags: isTaken ? "--help" : "-h, --help", about: "help" };
  return [...own, help].map((flag) => {
    const words = flag.flags.split(/[ ,]+/);
    return {
      short: words.find((word) => /^-[^-]/.test(word)),
      long: words.find((word) => word.startsWith("--"))!,
      takes: flag.flags.includes("<"),
      flag,
    };
  });
}

/** `-c` and what it is short for. */
function lettersOf({ letters = {} }: CommandShape): (readonly [letter: string, flag: string])[] {
  return Object.entries(letters).map(([letter, flag]) => [`-${letter}`, flag]);
}

const namesOf = ({ name, alias }: CommandShape): string[] => (alias ? [name, alias] : [name]);

const names = commands.map(({ name }) => name).join(" ");

function bash(): string {
  const cases = commands.map((shape) => {
    const all = [
      ...flagsOf(shape).flatMap(({ short, long }) => (short ? [short, long] : [long])),
      ...lettersOf(shape).map(([letter]) => letter),
    ];
    const places = shape.places.flatMap(({ values }) => values ?? []);
    const words = [...all, ...places].join(" ");
    return `    ${namesOf(shape).join("|")}) words=${quoted(words)} ;;`;
  });
  // Flags of one name may take other values in another command.
  const values = new Map<string, string[]>();
  for (const shape of commands)
    for (const { long, takes, flag } of flagsOf(shape)) {
      if (!takes) continue;
      const list = (flag.values ?? []).join(" ");
      const asked = namesOf(shape).map((name) => quoted(`${name} ${long}`));
      values.set(list, [...(values.get(list) ?? []), ...asked]);
    }
  const answers = [...values].map(([list, asked]) =>
    list === ""
      ? `    ${asked.join("|")}) return ;;`
      : `    ${asked.join("|")}) COMPREPLY=($(compgen -W ${quoted(list)} -- "$current")); return ;;`,
  );
  return `# bash completion for copse: eval "$(copse completion bash)"
_copse() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} words=""
  COMPREPLY=()
  if (( COMP_CWORD == 1 )); then
    COMPREPLY=($(compgen -W ${quoted(`${names} --help --version`)} -- "$current"))
    return
  fi
  case "\${COMP_WORDS[1]} $previous" in
${answers.join("\n")}
  esac
  case \${COMP_WORDS[1]} in
${cases.join("\n")}
  esac
  if [[ $current == -* || \${COMP_WORDS[1]} == completion ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$current"))
  else
    compopt -o filenames 2>/dev/null
    local line
    while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$current")
  fi
}
complete -F _copse copse
`;
}

function zsh(): string {
  const cases = commands.map((shape) => {
    const flags = flagsOf(shape).map(({ short, long, takes, flag }) => {
      const value = takes
        ? `:${long.slice(2)}:${flag.values ? `(${flag.values.join(" ")})` : " "}`
        : "";
      const repeats = /repeatable/.test(flag.about) || long === "--verbose";
      const name = short ? `{${short},${long}}` : long;
      return `      ${repeats ? "'*'" : ""}${name}${quoted(`[${zshText(flag.about)}]${value}`)} \\`;
    });
    const places = shape.places.map(
      ({ name, values }) =>
        `      ${quoted(`:${name}:${values ? `(${values.join(" ")})` : "_files"}`)} \\`,
    );
    const letters = lettersOf(shape).map(
      ([letter, flag]) => `      ${letter}${quoted(`[${zshText(flag)}]`)} \\`,
    );
    const specs = [...flags, ...letters, ...places].join("\n").replace(/ \\$/, "");
    return `    ${shape.name})\n    _arguments -s \\\n${specs} ;;`;
  });
  const described = commands.map(({ name, about }) => `    ${quoted(`${name}:${zshText(about)}`)}`);
  return `#compdef copse
# zsh completion for copse: eval "$(copse completion zsh)"
_copse() {
  local -a commands=(
${described.join("\n")}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
${cases.join("\n")}
  esac
}
compdef _copse copse
`;
}

function fish(): string {
  const lines = [
    "# fish completion for copse: copse completion fish | source",
    "complete -c copse -f",
  ];
  for (const shape of commands) {
    const { name, about, places } = shape;
    lines.push(`complete -c copse -n __fish_use_subcommand -a ${name} -d ${quoted(about)}`);
    const seen = `-n ${quoted(`__fish_seen_subcommand_from ${name}`)}`;
    const values = places.flatMap(({ values }) => values ?? []);
    if (values.length > 0) lines.push(`complete -c copse ${seen} -a ${quoted(values.join(" "))}`);
    else if (places.length > 0) lines.push(`complete -c copse ${seen} -F`);
    for (const [letter, flag] of lettersOf(shape))
      lines.push(`complete -c copse ${seen} -s ${letter.slice(1)} -d ${quoted(flag)}`);
    for (const { short, long, takes, flag } of flagsOf(shape)) {
      const value = takes ? ` -x${flag.values ? ` -a ${quoted(flag.values.join(" "))}` : ""}` : "";
      const letter = short ? ` -s ${short.slice(1)}` : "";
      lines.push(
        `complete -c copse ${seen}${letter} -l ${long.slice(2)}${value} -d ${quoted(flag.about)}`,
      );
    }
  }
  return `${lines.join("\n")}\n`;
}

/** In single quotes, which every shell here takes the same way. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** zsh gives brackets and colons a meaning inside a description. */
function zshText(text: string): string {
  return text.replace(/[[\]:]/g, "\\$&");
}
