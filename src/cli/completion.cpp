// vezactl completion: prints what bash, zsh or fish needs to complete the command line.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <functional>
#include <memory>
#include <string_view>

#include "cli/command.h"
#include "cli/output.h"

namespace veza::cli {
namespace {

bool IsFile(const OptionDescription& option) {
  return option.value == "FILE" || option.value == "PATH";
}

bool IsDirectory(const OptionDescription& option) {
  return option.value == "DIR";
}

bool TakesValue(const OptionDescription& option) {
  return !option.positional && !option.value.empty();
}

std::string Joined(const std::vector<std::string>& words) {
  return fmt::format("{}", fmt::join(words, " "));
}

std::string Replaced(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// The program, its commands, and theirs, with what goes for each.
void ForEachCommand(const CommandDescription& command,
                    const std::function<void(const CommandDescription&)>& use) {
  use(command);
  for (const CommandDescription& inner : command.commands) {
    ForEachCommand(inner, use);
  }
}

void ForEachOption(
    const CommandDescription& program,
    const std::function<void(const CommandDescription&, const OptionDescription&)>& use) {
  ForEachCommand(program, [&](const CommandDescription& command) {
    for (const OptionDescription& option : command.options) {
      use(command, option);
    }
  });
}

// ---- bash

// What the value or the argument is, as lines of a case. Those of the program go for every command.
std::string BashCase(const std::string& pattern, const OptionDescription& option) {
  std::string what = "words=" + (option.words.empty() ? "" : '"' + Joined(option.words) + '"');
  if (IsFile(option)) {
    what = "kind=default";
  } else if (IsDirectory(option)) {
    what = "kind=dirnames";
  }
  return fmt::format("    {}) {} ;;\n", pattern, what);
}

std::string BashValues(const CommandDescription& program) {
  std::string own;
  std::string common;
  ForEachOption(program, [&](const CommandDescription& command, const OptionDescription& option) {
    if (!TakesValue(option)) {
      return;
    }
    const std::string& name = option.names.back();
    if (&command == &program) {
      common += BashCase(fmt::format("\"{}\"*\" {}\"", program.path, name), option);
    } else {
      own += BashCase(fmt::format("\"{} {}\"", command.path, name), option);
    }
  });
  return own + common;
}

std::string BashArguments(const CommandDescription& program) {
  std::string cases;
  ForEachCommand(program, [&](const CommandDescription& command) {
    int count = 0;
    for (const OptionDescription& option : command.options) {
      if (option.positional) {
        cases += BashCase(fmt::format("\"{} {}\"", command.path, count++), option);
      }
    }
    if (!command.commands.empty()) {
      std::string names;
      for (const CommandDescription& inner : command.commands) {
        names += (names.empty() ? "" : " ") + inner.name;
      }
      cases += fmt::format("    \"{} 0\") words=\"{}\" ;;\n", command.path, names);
    }
  });
  return cases;
}

std::string OptionNames(const CommandDescription& command) {
  std::string names;
  for (const OptionDescription& option : command.options) {
    if (!option.positional) {
      names += (names.empty() ? "" : " ") + Joined(option.names);
    }
  }
  return names;
}

std::string BashOptions(const CommandDescription& program) {
  std::string cases;
  ForEachCommand(program, [&](const CommandDescription& command) {
    cases += fmt::format("    \"{}\") words=\"{}\" ;;\n", command.path, OptionNames(command));
  });
  return cases;
}

std::string BashCommands(const CommandDescription& program) {
  std::string patterns;
  ForEachCommand(program, [&](const CommandDescription& command) {
    patterns += fmt::format("{}\"{}\"", patterns.empty() ? "" : " | \\\n      ", command.path);
  });
  return patterns;
}

constexpr const char* kBash =
    R"(# bash completion of @PROGRAM@, made by "@PROGRAM@ completion bash".
# shellcheck shell=bash

# For an option that takes a value: what that is. Fails for any other.
_@PROGRAM@_value() {
  case "$1" in
@VALUES@    *) return 1 ;;
  esac
}

# What the argument is that has so many before it.
_@PROGRAM@_argument() {
  case "$1" in
@ARGUMENTS@  esac
}

_@PROGRAM@_options() {
  case "$1" in
@OPTIONS@  esac
  [[ $1 == "@PROGRAM@" ]] || words+=" @COMMON@"
}

_@PROGRAM@_is_command() {
  case "$1" in
    @COMMANDS@) ;;
    *) return 1 ;;
  esac
}

_@PROGRAM@() {
  local command=@PROGRAM@ option="" count=0 kind="" words="" current=${COMP_WORDS[COMP_CWORD]} word i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    if [[ $word == "=" ]]; then # bash splits --option=value there
      continue
    elif [[ $word =~ ^:+$ ]]; then # and 14:05, which goes on behind it
      ((++i < COMP_CWORD)) || return 0
    elif [[ $option ]]; then
      option=""
    elif [[ $word == -* ]]; then
      ! _@PROGRAM@_value "$command $word" || option=$word
    elif _@PROGRAM@_is_command "$command $word"; then
      command+=" $word"
    else
      ((++count))
    fi
  done
  kind="" words=""
  if [[ $option ]]; then
    [[ $current != "=" ]] || current=""
    _@PROGRAM@_value "$command $option"
  elif [[ $current == -* ]]; then
    _@PROGRAM@_options "$command"
  else
    _@PROGRAM@_argument "$command $count"
  fi
  if [[ $kind ]]; then
    compopt -o "$kind"
  else
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  fi
}

complete -F _@PROGRAM@ @PROGRAM@
)";

std::string BashScript(const CommandDescription& program) {
  std::string script = Replaced(kBash, "@VALUES@", BashValues(program));
  script = Replaced(std::move(script), "@ARGUMENTS@", BashArguments(program));
  script = Replaced(std::move(script), "@OPTIONS@", BashOptions(program));
  script = Replaced(std::move(script), "@COMMON@", OptionNames(program));
  script = Replaced(std::move(script), "@COMMANDS@", BashCommands(program));
  return Replaced(std::move(script), "@PROGRAM@", program.name);
}

// ---- zsh

std::string OneLine(const std::string& text) {
  return Replaced(text, "\n", " ");
}

std::string ZshQuoted(const std::string& text) {
  return "'" + Replaced(text, "'", "'\\''") + "'";
}

// Help between the brackets of _arguments.
std::string ZshHelp(const std::string& help) {
  std::string text = Replaced(OneLine(help), "\\", "\\\\");
  text = Replaced(std::move(text), "[", "\\[");
  return Replaced(std::move(text), "]", "\\]");
}

// The part that says what a value is.
std::string ZshValue(const OptionDescription& option) {
  std::string action = option.words.empty() ? " " : "(" + Joined(option.words) + ")";
  if (IsFile(option)) {
    action = "_files";
  } else if (IsDirectory(option)) {
    action = "_files -/";
  }
  return fmt::format(":{}:{}", option.positional ? option.names.front() : option.value, action);
}

std::string ZshOptions(const CommandDescription& command) {
  std::string specs;
  for (const OptionDescription& option : command.options) {
    if (option.positional) {
      specs += " " + ZshQuoted(ZshValue(option));
      continue;
    }
    for (const std::string& name : option.names) {
      specs += " " + ZshQuoted(fmt::format("{}{}{}[{}]{}", option.repeats ? "*" : "", name,
                                           TakesValue(option) ? "=" : "", ZshHelp(option.help),
                                           TakesValue(option) ? ZshValue(option) : ""));
    }
  }
  return specs;
}

// A function for each command that has commands, which calls those of its own.
std::string ZshFunction(const CommandDescription& program, const CommandDescription& command) {
  const std::string function = "_" + Replaced(command.path, " ", "_");
  const std::string common = &program == &command ? "" : ZshOptions(program);
  if (command.commands.empty()) {
    return fmt::format("{}() {{\n  _arguments :{}{}\n}}\n\n", function, ZshOptions(command),
                       common);
  }
  std::string functions;
  std::string list;
  std::string cases;
  for (const CommandDescription& inner : command.commands) {
    functions += ZshFunction(program, inner);
    list += " " + ZshQuoted(inner.name + ":" + Replaced(OneLine(inner.help), ":", "\\:"));
    cases += fmt::format("        {}) {}_{} ;;\n", inner.name, function, inner.name);
  }
  return functions + fmt::format(R"({0}() {{
  local curcontext="$curcontext" state line
  local -a commands
  _arguments -C :{1}{2} '1: :->command' '*:: :->rest'
  case $state in
    command)
      commands=({3})
      _describe -t commands command commands
      ;;
    rest)
      case $words[1] in
{4}      esac
      ;;
  esac
}}

)",
                                 function, ZshOptions(command), common, list, cases);
}

std::string ZshScript(const CommandDescription& program) {
  return fmt::format(
      "#compdef {0}\n# zsh completion of {0}, made by \"{0} completion zsh\".\n\n"
      "{1}# As a file of $fpath, this is the function itself.\n"
      "if [[ $funcstack[1] == _{0} ]]; then _{0} \"$@\"; else compdef _{0} {0}; fi\n",
      program.name, ZshFunction(program, program));
}

// ---- fish

std::string FishQuoted(const std::string& text) {
  return "'" + Replaced(Replaced(OneLine(text), "\\", "\\\\"), "'", "\\'") + "'";
}

// The values of an option or argument, as options of `complete`.
std::string FishValue(const OptionDescription& option) {
  const std::string_view only = option.positional ? "" : " -x";
  if (IsFile(option)) {
    return option.positional ? " -F" : " -r -F";
  }
  if (IsDirectory(option)) {
    return fmt::format("{} -a '(__fish_complete_directories)'", only);
  }
  return fmt::format("{}{}", only,
                     option.words.empty() ? "" : " -a " + FishQuoted(Joined(option.words)));
}

std::string FishOption(const std::string& condition, const OptionDescription& option) {
  std::string line = "complete -c @PROGRAM@" + condition;
  if (option.positional) {
    return FishValue(option).empty() ? "" : line + FishValue(option) + "\n";
  }
  for (const std::string& name : option.names) {
    line += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
  }
  return line + (TakesValue(option) ? FishValue(option) : "") + " -d " + FishQuoted(option.help) +
         "\n";
}

std::string FishLines(const CommandDescription& program) {
  std::string lines;
  ForEachCommand(program, [&](const CommandDescription& command) {
    const std::string at = fmt::format(" -n '__@PROGRAM@_at {}'", command.path);
    for (const OptionDescription& option : command.options) {
      lines += FishOption(&command == &program ? "" : at, option);
    }
    for (const CommandDescription& inner : command.commands) {
      lines += fmt::format("complete -c @PROGRAM@{} -a {} -d {}\n", at, inner.name,
                           FishQuoted(inner.help));
    }
  });
  return lines;
}

constexpr const char* kFish =
    R"(# fish completion of @PROGRAM@, made by "@PROGRAM@ completion fish".

# Whether the command on the line is this one.
function __@PROGRAM@_at
    set -l commands @COMMANDS@
    set -l with_value @VALUES@
    set -l at @PROGRAM@
    set -l is_value 0
    for token in (commandline -opc)[2..]
        if test $is_value = 1
            set is_value 0
        else if contains -- "$at $token" $commands
            set at "$at $token"
        else if contains -- "$at $token" $with_value; or contains -- "@PROGRAM@ $token" $with_value
            set is_value 1
        end
    end
    test "$at" = "$argv"
end

complete -c @PROGRAM@ -f
@LINES@)";

std::string FishScript(const CommandDescription& program) {
  std::string commands;
  std::string values;
  ForEachCommand(program, [&](const CommandDescription& command) {
    commands += (commands.empty() ? "" : " ") + FishQuoted(command.path);
  });
  ForEachOption(program, [&](const CommandDescription& command, const OptionDescription& option) {
    if (TakesValue(option)) {
      values += (values.empty() ? "" : " ") + FishQuoted(command.path + " " + option.names.back());
    }
  });
  std::string script = Replaced(kFish, "@LINES@", FishLines(program));
  script = Replaced(std::move(script), "@COMMANDS@", commands);
  script = Replaced(std::move(script), "@VALUES@", values);
  return Replaced(std::move(script), "@PROGRAM@", program.name);
}

}  // namespace

std::string FormatCompletion(const CommandDescription& program, Shell shell) {
  switch (shell) {
    case Shell::kBash:
      return BashScript(program);
    case Shell::kZsh:
      return ZshScript(program);
    case Shell::kFish:
      return FishScript(program);
  }
  return {};
}

Subcommand AddCompletion(Command parent) {
  auto shell = std::make_shared<std::string>();
  Command command =
      parent.AddCommand("completion", "Print a script that completes the command line in a shell");
  command.Add("shell", *shell, "The shell that reads it").OneOf({"bash", "zsh", "fish"}).Required();
  return {command,
          [=](const GlobalOptions&) -> Result<int> {
            PrintText(FormatCompletion(parent.Describe(), *shell == "bash"  ? Shell::kBash
                                                          : *shell == "zsh" ? Shell::kZsh
                                                                            : Shell::kFish));
            return kDone;
          },
          DefaultExitCode};
}

}  // namespace veza::cli
