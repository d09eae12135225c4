"""The experiments of the paper (Xiong et al., arXiv 2404.17785) on bundled runs: tables and pictures of docs/paper.md."""
