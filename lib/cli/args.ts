// The command line, parsed. commander does the work; commands.ts says what there is.

import { Argument, Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { commands, type CommandShape } from "./commands.ts";
import type { Flag } from "./flags.ts";
import { escapeText } from "./escape.ts";
import type { Paint } from "./terminal.ts";

/** What the person asked for: a command, a text to read, or something that cannot be. */
export type Asked =
  | { kind: "run"; name: CommandShape["name"]; places: readonly string[]; flags: Flags }
  | { kind: "help"; text: string }
  | { kind: "wrong"; message: string; command: string | undefined };

/** The given flags by their option names; one that was not given is not there. */
export type Flags = Readonly<Record<string, unknown>>;

const helpColumns = 80;
// To print; they exclude each other.
const ways = ["quiet", "json", "jsonl", "null"];

export function parseArguments(typed: readonly string[], paint: Paint): Asked {
  const args = spelledOut(typed);
  let asked: Asked | undefined;
  let text = "";
  const program = new Command("copse")
    .description("Compare, list, scan, copy, sync, pack and verify file trees.")
    .usage("<command> [flags]")
    .helpOption("-h, --help", "this, or the flags of a command")
    .helpCommand("help [command]", "the flags of a command")
    .option("-V, --version", "versions of copse and of what it is built with")
    .exitOverride()
    .configureOutput({
      writeOut: (piece) => (text += piece),
      // The message comes with the exception.
      writeErr: () => {},
      getOutHelpWidth: () => helpColumns,
      getOutHasColors: () => true,
    })
    .configureHelp({
      // The texts of commands.ts name the values and defaults that matter.
      optionDescription: ({ description }) => description,
      argumentDescription: ({ description }) => description,
      styleTitle: paint.bold,
      styleOptionTerm: paint.cyan,
      styleSubcommandTerm: paint.cyan,
      styleArgumentTerm: paint.cyan,
    })
    .addHelpText("after", () => overview(paint));
  // Four hundred flags take longer to describe than a small tree to compare: where the command stands
  // first, only its own.
  const named = commandOf(args);
  for (const shape of named ? [named] : commands) {
    const { name } = shape;
    const command = addCommand(program, shape, paint, args);
    command.action(() => {
      asked = { kind: "run", name, places: command.args, flags: given(command) };
    });
  }
  try {
    program.parse(args, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return { kind: "help", text };
    return { kind: "wrong", message: reword(error), command: named?.name };
  }
  return asked ?? { kind: "wrong", message: "say what to do", command: undefined };
}

function commandOf([first]: readonly string[]): CommandShape | undefined {
  return commands.find(({ name, alias }) => name === first || alias === first);
}

/**
 * Letters and other names of flags as commander knows them. A flag whose value may be left out does
 * not take the next word for it.
 */
function spelledOut(args: readonly string[]): string[] {
  const shape = commandOf(args);
  const all = Object.values(shape?.groups ?? {}).flat();
  const lone = new Map<string, string>();
  for (const { flags, alone } of all) {
    if (alone === undefined) continue;
    const names = flags.match(/-[a-z-]+/g) ?? [];
    for (const name of names) lone.set(name, `${names.at(-1)}=${alone}`);
  }
  const switches = all.flatMap(({ flags }) => /^-(\w), --[a-z-]+$/.exec(flags)?.[1] ?? []);
  const letters = shape?.letters ?? {};
  const isLetter = (one: string): boolean => Object.hasOwn(letters, one) || switches.includes(one);
  const end = args.includes("--") ? args.indexOf("--") : args.length;
  const words = args.flatMap((word, at) => {
    if (at >= end) return [word];
    const [, several = ""] = /^-([A-Za-z]+)$/.exec(word) ?? [];
    if (several !== "" && [...several].every(isLetter))
      return [...several].map((one) => letters[one] ?? `-${one}`).filter((one) => one !== "");
    return [lone.get(word) ?? word.replace(/^--bwlimit(?==|$)/, "--bandwidth")];
  });
  const watch = words.indexOf("--watch");
  if (shape?.name !== "sync" || watch < 0 || watch > end) return words;
  return ["watch-sync", ...words.slice(1).filter((word) => word !== "--watch")];
}

/** commander adds what was not said: true for `--no-sample` and its like. */
function given(command: Command): Flags {
  const all = Object.entries(command.opts());
  return Object.fromEntries(all.filter(([name]) => command.getOptionValueSource(name) === "cli"));
}

function addCommand(
  program: Command,
  shape: CommandShape,
  paint: Paint,
  args: readonly string[],
): Command {
  const command = program
    .command(shape.name)
    .description(shape.about)
    .helpOption(help(shape), "this")
    .addHelpText(
      "after",
      () => shortFor(shape, paint) + ending(shape.examples, shape.status, paint),
    );
  if (shape.alias) command.alias(shape.alias);
  for (const { name, about, values, many, optional } of shape.places) {
    const argument = new Argument(
      optional ? `[${name}]` : many ? `<${name}...>` : `<${name}>`,
      about,
    );
    if (values) argument.choices([...values]);
    command.addArgument(argument);
  }
  for (const [heading, flags] of Object.entries(shape.groups)) {
    for (const flag of flags) command.addOption(toOption(flag).helpGroup(heading));
  }
  // What a file sets can be taken back: each switch has its other side, without a line in the help.
  for (const { flags } of Object.values(shape.groups).flat()) {
    const [, no, name] = /--(no-)?([a-z0-9-]+)(?: \[[a-z]+\])?$/.exec(flags) ?? [];
    if (name === undefined || ways.includes(name) || /verbose|config/.test(name)) continue;
    const other = no ? `--${name}` : `--no-${name}`;
    // Describing them all would cost every start.
    if (args.includes(other)) command.addOption(new Option(other).hideHelp());
  }
  return command;
}

/** Where -h means something else, help is its long name. */
function help({ groups }: CommandShape): string {
  const isTaken = Object.values(groups)
    .flat()
    .some(({ flags }) => flags.startsWith("-h,"));
  return isTaken ? "--help" : "-h, --help";
}

function toOption({ flags, about, values, parse }: Flag): Option {
  const option = new Option(flags, about);
  if (values) option.choices([...values]);
  if (parse) {
    option.argParser((text, before) => {
      try {
        return parse(text, before);
      } catch (error) {
        throw new InvalidArgumentError((error as Error).message);
      }
    });
  }
  const name = option.attributeName();
  if (ways.includes(name)) option.conflicts(ways.filter((way) => way !== name));
  if (name === "explain") option.conflicts("null"); // bare paths have no room for reasons
  return option;
}

function shortFor({ letters = {} }: CommandShape, paint: Paint): string {
  const said: Readonly<Record<string, string>> = {
    "": "nothing: trees are always whole",
    "--watch": "watch-sync",
  };
  const lines = Object.entries(letters).map(
    ([letter, flag]) => `  ${paint.cyan(`-${letter}`)}  ${said[flag] ?? flag}`,
  );
  return lines.length > 0 ? `\n${paint.bold("Short for:")}\n${lines.join("\n")}\n` : "";
}

function overview(paint: Paint): string {
  const examples = commands.slice(0, 3).flatMap(({ examples }) => examples.slice(0, 1));
  const status = "0 equal or done, 1 different, 2 trouble, 130 interrupted";
  return ending(examples, status, paint);
}

function ending(examples: CommandShape["examples"], status: string, paint: Paint): string {
  const lines = examples.map(([command, about]) => `  ${command}\n      ${paint.dim(about)}`);
  return `\n${paint.bold("Examples:")}\n${lines.join("\n")}\n\n${paint.bold("Exit status:")} ${status}`;
}

/** One sentence of commander's, which can have a second line with what was probably meant. */
function reword({ message }: CommanderError): string {
  return escapeText(
    message
      .replace(/^\(outputHelp\)$/, "help knows no command of that name")
      .replace(/^error: /, "")
      .replace(/\n\((.*)\)$/, ". $1")
      .replace(/^(unknown option '-c')$/, "$1: say --by content, or --chunk-size")
      .replaceAll("\n", " "),
  );
}
