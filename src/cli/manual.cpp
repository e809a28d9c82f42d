// vezactl manual: prints manual pages.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <string_view>

#include "cli/command.h"
#include "cli/output.h"

namespace veza::cli {
namespace {

// Text as man(7) wants it. A hyphen of an option must stay one when it is copied from the page, and
// no line may begin as a request does.
std::string Escaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '\\':
        escaped += "\\e";
        break;
      case '-':
        escaped += "\\-";
        break;
      case '\'':
        escaped += "\\(aq";
        break;
      case '"':
        escaped += "\\(dq";
        break;
      default:
        escaped += c;
    }
  }
  return escaped.starts_with('.') ? "\\&" + escaped : escaped;
}

// A paragraph, in lines that are short enough to read in the source. A sentence ends its line.
std::string Paragraph(const std::string& text) {
  constexpr std::size_t kWidth = 78;
  std::string paragraph;
  std::string line;
  const auto end_line = [&] {
    if (!line.empty()) {
      paragraph += Escaped(line) + "\n";
    }
    line.clear();
  };
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find_first_of(" \n", begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    begin = end + 1;
    if (line.size() + word.size() > kWidth) {
      end_line();
    }
    if (!word.empty()) {
      line += (line.empty() ? "" : " ") + word;
    }
    if (word.ends_with('.') || word.ends_with(';')) {
      end_line();
    }
  }
  end_line();
  return paragraph;
}

std::string Joined(const std::vector<std::string>& words) {
  return fmt::format("{}", fmt::join(words, ", "));
}

std::string AsSentence(std::string text) {
  if (!text.empty() && !text.ends_with('.')) {
    text += '.';
  }
  return text;
}

// The help, and what --help says in signs.
std::string HelpOf(const OptionDescription& option) {
  std::string text = AsSentence(option.help);
  if (!option.words.empty() && option.value.find('|') == std::string::npos) {
    text += " One of: " + Joined(option.words) + ".";
  }
  if (!option.range.empty()) {
    text += " In the range " + option.range + ".";
  }
  if (!option.default_value.empty()) {
    text += " Default: " + option.default_value + ".";
  }
  if (!option.excludes.empty()) {
    text += " Not together with " + Joined(option.excludes) + ".";
  }
  if (option.required) {
    text += " Required.";
  }
  return text;
}

std::string FormatOption(const OptionDescription& option) {
  std::string head;
  for (const std::string& name : option.names) {
    head +=
        (head.empty() ? "" : ", ") +
        fmt::format(fmt::runtime(option.positional ? "\\fI{}\\fR" : "\\fB{}\\fR"), Escaped(name));
  }
  if (!option.positional && !option.value.empty()) {
    head += fmt::format(" \\fI{}\\fR", Escaped(option.value));
  }
  return fmt::format(".TP\n{}\n{}", head, Paragraph(HelpOf(option)));
}

// Arguments come before options, and alternatives last, below their title.
std::string FormatOptions(const std::vector<OptionDescription>& options) {
  std::string arguments;
  std::string others;
  std::string alternatives;
  std::string group;
  for (const OptionDescription& option : options) {
    if (option.positional) {
      arguments += FormatOption(option);
    } else if (option.group.empty()) {
      others += FormatOption(option);
    } else {
      if (option.group != group) {
        group = option.group;
        alternatives += fmt::format(".PP\n{}:\n", Escaped(group));
      }
      alternatives += FormatOption(option);
    }
  }
  return arguments + others + alternatives;
}

std::string Synopsis(const CommandDescription& command) {
  std::string line = fmt::format(".B {}\n[\\fIOPTION\\fR...]", Escaped(command.path));
  for (const OptionDescription& option : command.options) {
    if (option.positional) {
      line += fmt::format(fmt::runtime(option.required ? " \\fI{}\\fR" : " [\\fI{}\\fR]"),
                          Escaped(option.names.front()));
    }
  }
  return line + "\n";
}

std::string FormatFooter(const std::string& footer) {
  constexpr std::string_view kCodes = "Exit codes: ";
  return footer.starts_with(kCodes) ? ".SH EXIT STATUS\n" + Paragraph(footer.substr(kCodes.size()))
                                    : (footer.empty() ? "" : ".SH NOTES\n" + Paragraph(footer));
}

// Of the program, each command is named, with its page. Of a command, each is explained here.
std::string FormatCommands(const CommandDescription& program, const CommandDescription& command) {
  std::string text = command.commands.empty() ? "" : ".SH COMMANDS\n";
  for (const CommandDescription& inner : command.commands) {
    if (&program == &command) {
      text += fmt::format(".TP\n\\fB{0}\\-{1}\\fR(1)\n{2}", Escaped(program.name),
                          Escaped(inner.name), Paragraph(AsSentence(inner.help)));
    } else {
      text += fmt::format(".SS {}\n{}{}", Escaped(inner.path), Paragraph(AsSentence(inner.help)),
                          FormatOptions(inner.options));
    }
  }
  return text;
}

// All pages, so that each leads to the others.
std::string SeeAlso(const CommandDescription& program, const CommandDescription& command) {
  std::vector<std::string> pages;
  if (&program != &command) {
    pages.push_back(fmt::format("\\fB{}\\fR(1)", Escaped(program.name)));
  }
  for (const CommandDescription& other : program.commands) {
    if (&other != &command) {
      pages.push_back(
          fmt::format("\\fB{}\\-{}\\fR(1)", Escaped(program.name), Escaped(other.name)));
    }
  }
  return fmt::format(".SH SEE ALSO\n{}\n", fmt::join(pages, ",\n"));
}

struct ManualArguments {
  std::string command;
  bool list = false;
};

int RunManual(const CommandDescription& program, const ManualArguments& arguments) {
  if (arguments.list) {
    for (const CommandDescription& command : program.commands) {
      PrintText(command.name + "\n");
    }
    return kDone;
  }
  const auto found = std::find_if(
      program.commands.begin(), program.commands.end(),
      [&](const CommandDescription& command) { return command.name == arguments.command; });
  PrintText(FormatManual(program, found == program.commands.end() ? program : *found));
  return kDone;
}

}  // namespace

std::string FormatManual(const CommandDescription& program, const CommandDescription& command) {
  const bool whole = &program == &command;
  const std::string page = whole ? program.name : program.name + "-" + command.name;
  const std::string_view title =
      std::string_view(command.help).substr(0, command.help.find_last_not_of('.') + 1);
  std::string text = fmt::format(
      ".\\\" Made by \"vezactl manual\".\n"
      ".TH \"{}\" 1 \"\" \"veza_backup {}\" \"veza_backup\"\n"
      ".SH NAME\n{} \\- {}\n.SH SYNOPSIS\n{}",
      Escaped(page), VEZA_VERSION, Escaped(page), Escaped(title), Synopsis(command));
  text += ".SH DESCRIPTION\n" + Paragraph(AsSentence(command.help)) + ".SH OPTIONS\n" +
          FormatOptions(command.options);
  if (!whole) {
    text += ".SS Options of every command\n" + FormatOptions(program.options);
  }
  return text + FormatCommands(program, command) + FormatFooter(command.footer) +
         SeeAlso(program, command);
}

Subcommand AddManual(Command parent) {
  auto arguments = std::make_shared<ManualArguments>();
  Command command =
      parent.AddCommand("manual", "Print the manual page of vezactl, or of a command, for man -l");
  std::vector<std::string> names;
  for (const CommandDescription& other : parent.Describe().commands) {
    names.push_back(other.name);
  }
  command.Add("command", arguments->command, "The command; default: vezactl itself").OneOf(names);
  command.AddFlag("--list", arguments->list, "Only print the names of the commands");
  return {
      command,
      [=](const GlobalOptions&) -> Result<int> { return RunManual(parent.Describe(), *arguments); },
      DefaultExitCode};
}

}  // namespace veza::cli
