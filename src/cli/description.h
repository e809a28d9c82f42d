// What the command line knows of itself: of this, the manual (manual.cpp) and the completion of
// shells (completion.cpp) are made. It is what --help says, in parts.
#pragma once

#include <string>
#include <vector>

namespace veza::cli {

struct OptionDescription {
  std::vector<std::string> names;  // "-h" and "--help", or the one name of a positional argument
  std::string group;               // of the alternatives, empty for all others
  std::string value;               // the kind of value, for example FILE; empty for a flag
  std::vector<std::string> words;  // those that the value may be, if it is one of few
  std::string range;               // of numbers, for example "1 - 256"; may be empty
  std::string default_value;
  std::string help;  // may have line feeds
  std::vector<std::string> excludes;
  bool positional = false;
  bool required = false;
  bool repeats = false;
};

struct CommandDescription {
  std::string path;  // with the program, for example "vezactl key add"
  std::string name;
  std::string help;
  std::string footer;  // may have line feeds
  std::vector<OptionDescription> options;
  std::vector<CommandDescription> commands;  // without those that are hidden
};

enum class Shell { kBash, kZsh, kFish };

// A manual page, in the language of man(7). `command` is `program` itself or one of its commands;
// the commands of a command are in its page.
std::string FormatManual(const CommandDescription& program, const CommandDescription& command);

// A script that the shell reads.
std::string FormatCompletion(const CommandDescription& program, Shell shell);

}  // namespace veza::cli
