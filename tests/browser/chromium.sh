#!/bin/sh
# The browser tests need a Chromium: the distribution's is installed where it is missing and the user may install.
set -eu
for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null 2>&1 && exit 0
done
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "Installing Chromium for the browser tests ..."
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null && exit 0
fi
echo "The browser tests need Chromium: sudo apt-get install chromium (on Ubuntu: sudo snap install chromium)" >&2
exit 1
