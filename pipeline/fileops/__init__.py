"""What the stages that work on files do to texts, trees and archives."""
